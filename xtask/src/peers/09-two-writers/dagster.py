"""The orders of a shop, every night: fetched, cleaned, announced."""

import sqlite3
from pathlib import Path

import dagster as dg


class Shop(dg.Config):
    shop: str = "berlin"


@dg.asset(
    retry_policy=dg.RetryPolicy(
        max_retries=3,
        delay=5,
    ),
)
def raw_orders():
    with sqlite3.connect("warehouse.db") as warehouse:
        warehouse.execute("create table if not exists raw_orders as select 1 as id, 2.5 as price")


@dg.asset(deps=[raw_orders])
def clean_orders():
    query = Path(__file__).with_name("clean.sql").read_text()
    with sqlite3.connect("warehouse.db") as warehouse:
        return warehouse.execute(query).fetchall()


@dg.asset(name="clean_orders", deps=[raw_orders])
def clean_again():
    query = Path(__file__).with_name("clean.sql").read_text()
    with sqlite3.connect("warehouse.db") as warehouse:
        return warehouse.execute(query).fetchall()


@dg.asset
def announcement(clean_orders, config: Shop):
    return f"the {len(clean_orders)} orders of {config.shop} are in"


nightly = dg.ScheduleDefinition(
    name="nightly",
    target=dg.AssetSelection.all(),
    cron_schedule="0 2 * * *",
)
defs = dg.Definitions(
    assets=dg.load_assets_from_current_module(),
    schedules=[nightly],
)
