-- The ten products that bring in most.
select
  product_id,
  min(product_category) as category,
  sum(quantity) as units,
  sum(cast(round(10000 * price * quantity * (1 - coalesce(discount, 0))) as bigint)) / 1e4 as revenue
from orders
group by 1
order by revenue desc, product_id
limit 10
