-- Prime members against all others.
select
  is_prime,
  count(*) as orders,
  sum(cast(round(10000 * price * quantity * (1 - coalesce(discount, 0))) as bigint)) / 1e4 as revenue,
  sum(cast(round(10000 * price * quantity * (1 - coalesce(discount, 0))) as bigint)) / 1e4
    / count(*) as mean_basket,
  avg(user_rating) as mean_rating,
  avg(delivery_days) as mean_delivery_days,
  -- Of the orders that were delivered.
  avg(case
    when delivery_days is null then null
    when delivery_days > case when is_prime then 2 else 5 end then 1e0
    else 0e0
  end) as late_share
from orders
group by 1
