"""The orders of a shop: fetched, cleaned, announced."""

import sqlite3
from pathlib import Path

from prefect import flow, task


@task(
    retries=3,
    retry_delay_seconds=5,
)
def extract():
    with sqlite3.connect("warehouse.db") as warehouse:
        warehouse.execute("create table if not exists raw_orders as select 1 as id, 2.5 as price")


@task
def clean():
    query = Path(__file__).with_name("clean.sql").read_text()
    with sqlite3.connect("warehouse.db") as warehouse:
        return warehouse.execute(query).fetchall()


@task
def clean():
    Path("orders.old.csv").unlink(missing_ok=True)


@task
def announce(rows, shop):
    print(f"the {len(rows)} orders of {shop} are in")


@flow
def orders(shop: str = "berlin"):
    extract()
    rows = clean()
    announce(rows, shop)


if __name__ == "__main__":
    orders()
