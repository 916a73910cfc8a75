"""The ETL of the bench in DuckDB: parse, clean, deduplicate by order_id, zstd Parquet, aggregates.

duckdb_etl.py ORDERS.csv OUT_DIRECTORY; prints the number of rows that are left.
"""
import sys

import duckdb

source, out = sys.argv[1], sys.argv[2]
db = duckdb.connect()
db.execute("set preserve_insertion_order = false")
# A timestamp that can't be parsed makes its row a reject, as in tidemill: read as text, try_cast.
db.execute(
    f"""
    copy (
        select distinct on (order_id)
            order_id, product_id, customer_id, product_category, price, quantity,
            try_cast(order_timestamp as timestamptz) as order_timestamp, user_rating,
            payment_method, delivery_status, is_prime, delivery_days, discount, country
        from read_csv('{source}', header = true, columns = {{
            'order_id': 'bigint', 'product_id': 'bigint', 'customer_id': 'bigint',
            'product_category': 'varchar', 'price': 'double', 'quantity': 'integer',
            'order_timestamp': 'varchar', 'user_rating': 'integer',
            'payment_method': 'varchar', 'delivery_status': 'varchar', 'is_prime': 'boolean',
            'delivery_days': 'integer', 'discount': 'double', 'country': 'varchar'}})
        where customer_id is not null and price > 0
            and try_cast(order_timestamp as timestamptz) is not null
    ) to '{out}/clean.parquet' (format parquet, compression zstd)
    """
)
clean = f"read_parquet('{out}/clean.parquet')"
revenue = "price * quantity * (1 - discount)"
queries = {
    "daily": f"select date_trunc('day', order_timestamp) as day, count(*) as orders, "
    f"sum({revenue}) as revenue from {clean} group by 1 order by 1",
    "category": f"select product_category, count(*) as orders, sum({revenue}) as revenue "
    f"from {clean} group by 1 order by 1",
    "ratings": f"select product_category, user_rating, count(*) as orders "
    f"from {clean} group by 1, 2 order by 1, 2",
    "prime": f"select is_prime, count(*) as orders, avg({revenue}) as mean_basket "
    f"from {clean} group by 1 order by 1",
    "products": f"select product_id, sum(quantity) as units from {clean} "
    f"group by 1 order by 2 desc, 1 limit 10",
}
for name, query in queries.items():
    db.execute(f"copy ({query}) to '{out}/{name}.parquet' (format parquet, compression zstd)")
print(db.execute(f"select count(*) from {clean}").fetchone()[0])
