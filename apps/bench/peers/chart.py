"""The medians of a result as an SVG of bars, one panel a model, readable on light and on dark pages."""
from xml.sax.saxutils import escape

from figures import OURS, TASKS, engine_of, median, number, spread

WIDTH, LEFT, RIGHT = 760, 190, 110
BAR, GAP, TITLE, SPACE = 14, 6, 30, 18
TASK = "greedy_ms"
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #3d444d }
.title { font-size: 14px; font-weight: 600; fill: #1f2328 }
.ours { font-weight: 600; fill: #1f2328 }
.bar { fill: #afb8c1 }
.bar.ours { fill: #0969da }
.spread { stroke: #1f2328; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #b7bdc8 }
  .title, text.ours { fill: #f0f6fc }
  .bar { fill: #565d67 }
  .bar.ours { fill: #4493f8 }
  .spread { stroke: #f0f6fc }
}
"""


def panel(title, rows, top):
    """Lines of SVG and the height of bars for {contestant: samples}, best first."""
    scale = (WIDTH - LEFT - RIGHT) / max(max(samples) for samples in rows.values())
    parts = [f'<text class="title" x="0" y="{top + 16}">{escape(title)}</text>']
    y = top + TITLE
    for name, samples in sorted(rows.items(), key=lambda row: median(row[1])):
        whose = " ours" if engine_of(name) == OURS else ""
        low, high = (LEFT + x * scale for x in spread(samples))
        middle, text_y = y + BAR / 2, y + BAR - 3
        parts += [
            f'<text class="name{whose}" x="{LEFT - 8}" y="{text_y}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar{whose}" x="{LEFT}" y="{y}" width="{median(samples) * scale:.1f}" height="{BAR}" rx="2"/>',
            f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
            f'<text class="value{whose}" x="{high + 6:.1f}" y="{text_y}">{number(median(samples), TASKS[TASK][1])} ms</text>',
        ]
        y += BAR + GAP
    return parts, y + SPACE - top


def chart(results):
    """Milliseconds from a photo's path to its caption of 20 tokens, greedy; lines show the smallest and largest sample."""
    parts, top = [], 0
    for model, part in results["models"].items():
        rows = {name: row[TASK] for name, row in part["rows"].items() if row.get(TASK)}
        if rows:
            lines, height = panel(f"{model}: photo to caption of 20 tokens, {results['threads']} threads", rows, top)
            parts += lines
            top += height
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" role="img">',
        "<title>Looksay and its peers: milliseconds from photo to caption</title>", f"<style>{STYLE}</style>", *parts, "</svg>",
    ]) + "\n"
