"""The orders of a shop, every night: fetched, cleaned, announced."""

from datetime import timedelta

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.standard.operators.bash import BashOperater
from airflow.sdk import dag


@dag(
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    params={"shop": "berlin"},
)
def orders():
    extract = SQLExecuteQueryOperator(
        task_id="extract",
        conn_id="warehouse",
        sql="create table if not exists raw_orders as select 1 as id, 2.5 as price",
        retries=3,
        retry_delay=timedelta(seconds=5),
    )
    clean = SQLExecuteQueryOperator(
        task_id="clean",
        conn_id="warehouse",
        sql="clean.sql",
    )
    announce = BashOperater(
        task_id="announce",
        bash_command="echo the orders of {{ params.shop }} are in",
    )
    extract >> clean >> announce


orders()
