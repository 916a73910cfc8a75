-- All orders, from both ways in.
select
  order_id, product_id, customer_id, product_category, price, quantity, order_timestamp,
  user_rating, payment_method, delivery_status, is_prime, delivery_days, discount, country
from streamed
union all
select
  order_id, product_id, customer_id, product_category, price, quantity, order_timestamp,
  user_rating, payment_method, delivery_status, is_prime, delivery_days, discount, country
from bulk
