"""Compares when tidemill says that pipelines are due with what croniter says.

    python compare.py TIDEMILL DIRECTORY

makes pipelines with random crontab lines in the directory. croniter has no rule of its own for the nights
in which clocks change, so those days are left out; orchestrator/src/schedule/tests.rs looks at them.
"""

import json
import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from croniter import croniter

LINES = 300
FIRES = 25
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago"]
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()


def field(rng, low, high, names=None):
    """A field that chooses among the numbers from low to high."""

    def one(value):
        return names[value - low].upper() if names and rng.random() < 0.3 else str(value)

    def part():
        first = rng.randint(low, high)
        kind = rng.random()
        # A range of one number, such as 18-18, is all numbers to croniter.
        if kind < 0.5 or first == high:
            return one(first)
        last = rng.randint(first + 1, high)
        step = rng.randint(1, 5)
        span = f"{first}-{last}"
        return span if kind < 0.75 else f"{span}/{step}"

    return ",".join(part() for _ in range(rng.choice([1, 1, 1, 2, 3])))


def line(rng):
    def maybe(chance, chosen, step):
        kind = rng.random()
        if kind < chance:
            return "*"
        return f"*/{rng.randint(2, step)}" if step and kind < chance + 0.15 else chosen

    # A step over all days beside a day of the week means one thing here and another there.
    day, weekday = maybe(0.5, field(rng, 1, 31), None), maybe(0.5, field(rng, 0, 6, DAYS), None)
    if weekday != "*" and rng.random() < 0.2:
        weekday += ",7"
    return " ".join([
        maybe(0.1, field(rng, 0, 59), 30),
        maybe(0.2, field(rng, 0, 23), 12),
        day,
        maybe(0.6, field(rng, 1, 12, MONTHS), 6),
        weekday,
    ])


def clocks_change(day, zone):
    """Whether a day is not 24 hours long, or is beside such a day."""
    for offset in (-1, 0, 1):
        start = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=offset)
        end = start + timedelta(days=1)
        if start.utcoffset() != end.utcoffset():
            return True
    return False


def main():
    tidemill, directory = sys.argv[1], Path(sys.argv[2])
    rng = random.Random(20261129)
    schedules = {}
    (directory / "pipelines").mkdir(exist_ok=True)
    while len(schedules) < LINES:
        name, cron, zone = f"p{len(schedules)}", line(rng), rng.choice(ZONES)
        try:
            croniter(cron, datetime(2026, 1, 1)).get_next(datetime)
        except Exception:  # The 31st of February is never due: both say so, each in its way.
            continue
        schedules[name] = (cron, zone)
        (directory / "pipelines" / f"{name}.yaml").write_text(
            f"name: {name}\nschedule: {{cron: '{cron}', timezone: {zone}}}\n"
            "tasks: {a: {uses: shell, with: {run: 'true'}}}\n"
        )
    now = datetime.now(timezone.utc)
    said = subprocess.run(
        [tidemill, "schedule", "pipelines", "--next", str(FIRES), "-o", "json"],
        cwd=directory, check=True, capture_output=True, text=True,
    )
    compared = 0
    for row in json.loads(said.stdout):
        cron, name = schedules[row["pipeline"]]
        zone = ZoneInfo(name)
        ours = [datetime.fromisoformat(due["at"].replace("Z", "+00:00")) for due in row["next"]]
        # croniter counts without a zone: outside of the nights that are left out, a local time is one moment.
        their = croniter(cron, now.astimezone(zone).replace(tzinfo=None))
        theirs = []
        while len(theirs) < FIRES + 10:
            theirs.append(their.get_next(datetime).replace(tzinfo=zone))
        last = min(ours[-1], theirs[-1])
        # A minute may have begun between the two questions.
        first = now + timedelta(minutes=1)

        def comparable(fires):
            local = (fire.astimezone(zone) for fire in fires if first < fire <= last)
            return [fire for fire in local if not clocks_change(fire, zone)]

        a, b = comparable(ours), comparable(theirs)
        assert a == b, f"`{cron}` in {name}:\n ours   {[str(x) for x in a]}\n theirs {[str(x) for x in b]}"
        compared += len(a)
    assert compared > LINES * FIRES / 2, compared
    print(f"{compared} times of {LINES} lines agree")


main()
