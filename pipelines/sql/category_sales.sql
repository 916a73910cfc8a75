-- Sales and ratings of each category.
select
  product_category as category,
  count(*) as orders,
  sum(quantity) as units,
  sum(cast(round(10000 * price * quantity * (1 - coalesce(discount, 0))) as bigint)) / 1e4 as revenue,
  avg(user_rating) as mean_rating
from orders
group by 1
