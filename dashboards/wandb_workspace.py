"""Make a saved view of a W&B project: recall against cost, recall over steps, losses, tables of predictions.

python dashboards/wandb_workspace.py --entity ME --protocol msls-val-740@25m --protocol pitts30k-val@25m
python dashboards/wandb_workspace.py --entity ME --protocol toycity-test@25m --print      (shows it, sends nothing)

Needs `pip install wandb-workspaces` and `wandb login`; docs/dashboards.md goes through it step by step.
"""

from __future__ import annotations

import argparse

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from vpr.training.loggers import protocol_name

COSTS = {
    "latency_ms": "latency, ms an image",
    "parameters_M": "parameters, millions",
    "gmacs": "GMACs an image",
    "descriptor_bytes": "bytes a descriptor",
}
# The runs' table on the left: what tells runs apart, and what they reach.
COLUMNS = [
    *(f"config:labels.value.{name}" for name in ("student", "teacher", "term", "dataset")),
    *("config:seed.value", "summary:best_R1"),
    *(f"summary:{name}" for name in COSTS),
]


def workspace(entity: str, project: str, protocols: list[str], name: str) -> ws.Workspace:
    """Describe the view; `save()` of what is returned sends it."""
    sections = [ws.Section(name="Recall against cost, monitored set", panels=_costs("best_R1", "R@1"), is_open=True)]
    for protocol in protocols:
        metric = f"best_R1_{protocol_name(protocol)}"
        sections += [
            ws.Section(name=f"Recall against cost, {protocol}", panels=_costs(metric, f"R@1, {protocol}")),
            ws.Section(
                name=f"Recall over steps, {protocol}",
                panels=[_over_steps(f"{protocol}/R@{k}", f"R@{k}, {protocol}") for k in (1, 5, 10)],
                is_open=True,
            ),
            ws.Section(
                name=f"Predictions, {protocol}",
                panels=[wr.WeavePanelSummaryTable(table_name=f"predictions/{protocol}")],
            ),
        ]
    losses = wr.LinePlot(title="distillation terms", metric_regex="distill/.*", groupby="Group")
    training = [_over_steps("train/loss", "loss"), _over_steps("train/task", "loss of the task alone"), losses]
    training += [_over_steps("speed/images_per_s", "images/s"), _over_steps("speed/data_wait", "share of waiting")]
    sections.append(ws.Section(name="Training", panels=training))
    runs = ws.RunsetSettings(pinned_columns=COLUMNS, order=[ws.Ordering(ws.Summary("best_R1"), ascending=False)])
    return ws.Workspace(entity=entity, project=project, name=name, sections=sections, runset_settings=runs)


def _costs(metric: str, title: str) -> list[wr.ScatterPlot]:
    """One point a run; the line is the best recall up to that cost."""
    return [
        wr.ScatterPlot(
            title=f"{title} against {label}",
            x=wr.SummaryMetric(cost),
            y=wr.SummaryMetric(metric),
            log_x=True,
            running_ymax=True,
        )
        for cost, label in COSTS.items()
    ]


def _over_steps(metric: str, title: str) -> wr.LinePlot:
    """The seeds of a setting (one W&B group) as their mean and the range between them."""
    return wr.LinePlot(
        title=title,
        x="trainer/global_step",
        y=[metric],
        groupby="Group",
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="vpr-distill")
    parser.add_argument("--protocol", action="append", default=[], help="id of an evaluation set; repeat for more")
    parser.add_argument("--name", default="Recall against cost")
    parser.add_argument("--print", action="store_true", help="show the description; send nothing, need no account")
    args = parser.parse_args()
    view = workspace(args.entity, args.project, args.protocol, args.name)
    if args.print:
        print(view)
    else:
        print(view.save().url)


if __name__ == "__main__":
    main()
