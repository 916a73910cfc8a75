-- Sales of each day.
--
-- What an order brings in is counted in hundredths of a cent, since that is what whole cents less
-- whole percents can come to. Sums of whole numbers do not depend on the order in which the rows are
-- read, so a run that is repeated gives exactly the same figures.
select
  cast(date_trunc('day', order_timestamp) as date) as day,
  count(*) as orders,
  sum(quantity) as units,
  sum(cast(round(10000 * price * quantity * (1 - coalesce(discount, 0))) as bigint)) / 1e4 as revenue,
  count(distinct customer_id) as customers
from orders
group by 1
