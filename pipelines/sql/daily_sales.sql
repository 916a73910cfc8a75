-- Sales of each day.
--
-- What an order brings in is counted in whole cents: sums of whole numbers do not depend on the
-- order in which the rows are read, so a run that is repeated gives the same figures to the cent.
select
  cast(date_trunc('day', order_timestamp) as date) as day,
  count(*) as orders,
  sum(quantity) as units,
  sum(cast(round(100 * price * quantity * (1 - coalesce(discount, 0))) as bigint)) / 100.0 as revenue,
  count(distinct customer_id) as customers
from orders
group by 1
