select count(*) from orders where night = $night
