-- How many orders got which rating, by category and by whether the parcel came in time.
--
-- Promised are 2 days to Prime members and 5 days to others.
select
  product_category as category,
  cast(user_rating as int) as rating,
  case
    when delivery_days is null then 'Not delivered'
    when delivery_days <= case when is_prime then 2 else 5 end then 'On time'
    else 'Late'
  end as delivery,
  count(*) as orders
from orders
where user_rating is not null
group by 1, 2, 3
