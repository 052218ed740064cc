"""Medians, spreads and tables of what run.py measured. Results:

    {"date", "machine", "command", "threads", "versions": {name: version},
     "models": {model: {"measured": {task: date}, "skipped": {contestant: why}, "rows": {contestant: {task: [numbers]}}}}}

A contestant is "ENGINE PRECISION". Tasks are the keys of TASKS. All figures of one model and task come from one run."""
import statistics

OURS = "looksay"
# task: (title, decimals, larger is better)
TASKS = {
    "encode_ms": ("encoder, ms", 0, False),
    "greedy_ms": ("caption, ms", 0, False),
    "beams_ms": ("caption with 3 beams, ms", 0, False),
    "cold_ms": ("start to caption, ms", 0, False),
    "cold_mib": ("memory, MiB", 0, False),
    "photos_per_s": ("folder, photos/s", 1, True),
}


def median(samples):
    return statistics.median(samples)


def spread(samples):
    """Smallest and largest."""
    return min(samples), max(samples)


def engine_of(contestant):
    return contestant.split()[0]


def precision_of(contestant):
    """int8-static and int8-dynamic are both int8."""
    return contestant.split()[1].split("-")[0]


def number(value, decimals):
    return f"{value:,.{decimals}f}"


def cell(samples, task):
    if not samples:
        return ""
    decimals = TASKS[task][1]
    low, high = (number(x, decimals) for x in spread(samples))
    return f"{number(median(samples), decimals)} ({low}-{high})"


def tasks_of(model):
    return [task for task in TASKS if any(row.get(task) for row in model["rows"].values())]


def best_peer(model, task, precision):
    """The contestant that is not ours with the best median in that precision, or None."""
    peers = {name: median(row[task]) for name, row in model["rows"].items()
             if row.get(task) and engine_of(name) != OURS and precision_of(name) == precision}
    if not peers:
        return None
    return max(peers, key=peers.get) if TASKS[task][2] else min(peers, key=peers.get)


def ratio(ours, theirs, task):
    """Above 1 where ours is better."""
    return ours / theirs if TASKS[task][2] else theirs / ours


def merge(results, model, task, rows, skipped, now):
    """A new run of a model and task leaves nothing of an old one."""
    part = results["models"].setdefault(model, {"measured": {}, "skipped": {}, "rows": {}})
    part["measured"][task], part["skipped"] = now, skipped
    new = {figure for row in rows.values() for figure in row}
    for name in rows:
        part["rows"].setdefault(name, {})
    for name, row in part["rows"].items():
        for figure in new:
            row.pop(figure, None)
        row.update(rows.get(name, {}))


def markdown_row(cells):
    return "| " + " | ".join(cells) + " |"


def full_table(model):
    """Every contestant and task: median (smallest-largest)."""
    tasks = tasks_of(model)
    lines = [markdown_row(["", *(TASKS[task][0] for task in tasks)]), "|---" * (len(tasks) + 1) + "|"]
    lines += [markdown_row([name, *(cell(row.get(task), task) for task in tasks)]) for name, row in model["rows"].items()]
    lines += [markdown_row([name, f"not run: {why}", *[""] * (len(tasks) - 1)]) for name, why in model["skipped"].items()]
    return "\n".join(lines)


def verdicts(results):
    """(model, task, precision, our median, best peer's name, its median, ratio) of all that compares."""
    for name, model in results["models"].items():
        for task in tasks_of(model):
            for contestant, row in model["rows"].items():
                peer = best_peer(model, task, precision_of(contestant))
                if engine_of(contestant) != OURS or not row.get(task) or not peer:
                    continue
                ours, theirs = median(row[task]), median(model["rows"][peer][task])
                yield name, task, precision_of(contestant), ours, peer, theirs, ratio(ours, theirs, task)


def verdict_table(results):
    """Ours against the best peer of equal precision; where ours loses it says so."""
    lines = ["| model | | precision | looksay | best peer | | ratio |", "|---|---|---|---|---|---|---|"]
    for model, task, precision, ours, peer, theirs, times in verdicts(results):
        decimals = TASKS[task][1]
        said = f"{times:.2f}" if times >= 1 else f"**{times:.2f}: looksay loses**"
        lines.append(markdown_row([model, TASKS[task][0], precision, number(ours, decimals), engine_of(peer),
                                   number(theirs, decimals), said]))
    return "\n".join(lines)


def report(results):
    """The whole Markdown page."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [
        "# Looksay and its peers",
        f"{results['date']}, {results['machine']}, {results['threads']} threads; {versions}.",
        f"    {results['command']}",
        "Medians of interleaved rounds (smallest-largest). Every engine captions the same photos with the same weights to exactly 20 "
        "tokens; in f32 all of them write the same tokens. Models with random weights: speed does not depend on what weights say.",
        "## Against the best peer of equal precision",
        "Ratios above 1: looksay is that many times better.",
        verdict_table(results),
    ]
    for name, model in results["models"].items():
        parts += [f"## {name}", full_table(model)]
    return "\n\n".join(parts) + "\n"
