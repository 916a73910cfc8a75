select id, pirce
from raw_orders
where price > 0
