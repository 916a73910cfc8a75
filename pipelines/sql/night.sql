-- The landed orders of one night.
select * from landed where night = $night
