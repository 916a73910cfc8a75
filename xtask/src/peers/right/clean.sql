select id, price
from raw_orders
where price > 0
