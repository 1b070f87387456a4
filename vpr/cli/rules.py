"""Rules that span keys. Each error says what was typed, why it cannot be, and what to type instead. None needs torch.

The rules of each script stand in order at the end of this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.cli.budget import Budget
from vpr.cli.checks import known_choices, known_keys, large_enough
from vpr.cli.cluster_command import something_to_cluster, training_sets
from vpr.cli.compose import CONF
from vpr.cli.datasets import names_with
from vpr.cli.export_rules import (
    bundle_is_complete,
    export_is_installed,
    export_size_is_a_size,
    exported_models_compute_as_they_are,
    int8_can_be_measured,
    precisions_are_known,
)
from vpr.cli.hints import did_you_mean
from vpr.cli.resolvers import training_sizes
from vpr.cli.sweeps.prerequisites import generations_need_their_supervision, has_teacher, teacher_advice
from vpr.errors import ConfigError

Rule = Callable[[DictConfig], None]


def check_rules(cfg: DictConfig) -> None:
    """Check the configuration of one of the scripts as a whole.

    Raises:
        ConfigError: the first rule that does not hold.
    """
    of_script = next((rules for key, rules in OF_SCRIPTS.items() if key in cfg), EVALUATE_RULES)
    for rule in (*RULES, *of_script):
        rule(cfg)


def something_to_train_on(cfg: DictConfig) -> None:
    part = cfg.supervision.reads
    parts = ("images", "train", "weak") if part == "images" else (part,)
    given = any(OmegaConf.select(cfg, f"dataset.{part}") for part in parts) or cfg.supervision.get("map")
    if given or cfg.trainer.max_epochs == 0:
        return
    if part == "train":
        raise ConfigError(
            "dataset: it has no images to train on, only evaluation sets. "
            "Add a training set, for example dataset=[gsv_cities,pitts30k_val]."
        )
    if part == "images":
        raise ConfigError(
            "dataset: it has no images to learn from. Type for example dataset=my_images "
            "dataset.images.my_images.root=/my/photos, or supervision.map=true for the database of an evaluation set."
        )
    chosen = ", ".join(OmegaConf.select(cfg, "dataset.eval") or OmegaConf.select(cfg, "dataset.train") or ["this one"])
    names = names_with(part)
    if not names:
        raise ConfigError(f"supervision.reads={part}: no data set has such a part. Leave supervision.reads out.")
    raise ConfigError(
        f"dataset: supervision.reads={part}, and {chosen} has no such part.{did_you_mean(chosen, names)} "
        f"Sets that have: {', '.join(names)}. Type for example dataset=pitts30k_train, or supervision=places."
    )


def image_size_is_known(cfg: DictConfig) -> None:
    size = cfg.image.size
    if cfg.get("init") is not None:  # the model says it
        return
    if size is not None and len(size) == 2 and min(size) >= 1:
        return
    example = "Type for example 'image.size=[320,320]' (with the quotes)."
    if OmegaConf.is_interpolation(cfg.image, "size"):
        sizes, names = training_sizes(cfg), ", ".join(training_sets(cfg))
        if not names:
            raise ConfigError(f"image.size: there is no training set that would give one. {example}")
        if not sizes:
            raise ConfigError(
                f"image.size: the training sets ({names}) name no dataset.image_size: {{name: [h, w]}}. {example}"
            )
        differing = ", ".join(f"{name} {list(size)}" for name, size in sizes.items())
        raise ConfigError(f"image.size: the training sets are used at different sizes ({differing}). {example}")
    raise ConfigError(f"image.size={size}: it must be [height, width] in pixels. {example}")


def image_size_fits_patches(cfg: DictConfig) -> None:
    patch = OmegaConf.select(cfg, "backbone.patch_size")
    if OmegaConf.select(cfg, "backbone.any_size"):  # it resizes them itself
        return
    if cfg.get("init") is None and patch and any(side % patch for side in cfg.image.size):
        height, width = (max(patch, round(side / patch) * patch) for side in cfg.image.size)
        raise ConfigError(
            f"image.size={cfg.image.size}: the backbone cuts images into patches of {patch} pixels, and both sides "
            f"must be multiples of that. Type 'image.size=[{height},{width}]' (with the quotes)."
        )


def nothing_else_without_training(cfg: DictConfig) -> None:
    if cfg.trainer.max_epochs > 0:
        if cfg.pca.dim is not None:
            raise ConfigError(
                f"pca.dim={cfg.pca.dim} with trainer.max_epochs={cfg.trainer.max_epochs}: here PCA is fitted to a "
                "network that is not trained. Type trainer.max_epochs=0, or fit it to the trained one: "
                f"python evaluate.py ckpt=best.ckpt pca.dim={cfg.pca.dim} pca.save=out.ckpt"
            )
        return
    without = "trainer.max_epochs=0 takes the network as it is"
    if cfg.ckpt_path is not None:
        raise ConfigError(
            f"ckpt_path={cfg.ckpt_path}: {without}, and there is nothing to go on with. Leave ckpt_path out, or type "
            "the number of epochs that the run had."
        )
    if cfg.distillation.terms:
        raise ConfigError(
            f"distillation: {without}, and it would learn nothing from a teacher. Type distillation=none "
            "distillation/teacher=default, or trainer.max_epochs=1 or more."
        )
    if cfg.generation:
        raise ConfigError(
            f"generation={cfg.generation}: {without}. Type generation=0, or trainer.max_epochs=1 or more."
        )
    if cfg.trainer.extra.get("fast_dev_run"):
        raise ConfigError(
            f"trainer.extra.fast_dev_run: {without}, and this would train one step. Leave debug=fast out; "
            "trainer.eval_every=0 measures nothing."
        )


def there_are_weights_to_interpolate(cfg: DictConfig) -> None:
    share = cfg.finetune.interpolate
    if share is None:
        return
    if share > 1:
        raise ConfigError(
            f"finetune.interpolate={share:g}: it is the share of the trained weights, 0 to 1. Type for example "
            "finetune.interpolate=0.5."
        )
    if cfg.trainer.max_epochs == 0:
        raise ConfigError(
            f"finetune.interpolate={share:g} with trainer.max_epochs=0: there are no trained weights. Type "
            "finetune.interpolate=null, or trainer.max_epochs=1 or more."
        )
    if cfg.init is None and cfg.backbone.get("weights") == "none":
        raise ConfigError(
            f"finetune.interpolate={share:g} with backbone.weights=none: there are no pretrained weights to mix the "
            "trained ones with. Type finetune.interpolate=null, or start from pretrained ones."
        )


def devices_can_be_counted(cfg: DictConfig) -> None:
    devices, known = cfg.trainer.devices, False
    if OmegaConf.is_list(devices):
        known = bool(devices) and all(_is_number(d) and d >= 0 for d in devices) and len(set(devices)) == len(devices)
    elif _is_number(devices):
        known = devices >= 1 or devices == -1
    if not known and devices != "auto":
        raise ConfigError(
            f"trainer.devices={devices}: it must be a number of devices, -1 for all, auto, or a list of their numbers. "
            "Type for example trainer.devices=2, or 'trainer.devices=[0,1]' (with the quotes)."
        )
    if cfg.trainer.accelerator == "cpu" and (OmegaConf.is_list(devices) or devices == -1):
        raise ConfigError(
            f"trainer.devices={devices} with trainer.accelerator=cpu: on the CPU it is a number of processes. "
            "Type trainer.devices=1."
        )


def each_device_has_a_share(cfg: DictConfig) -> None:
    devices = cfg.trainer.devices
    count = len(devices) if OmegaConf.is_list(devices) else 1 if devices == "auto" else devices
    given = {f"supervision.{unit}": cfg.supervision.get(unit) for unit in ("tuples", "images")}
    key, in_a_step = next((item for item in given.items() if item[1]), ("batch.places", cfg.batch.places))
    if in_a_step < count:
        raise ConfigError(
            f"{key}={in_a_step} with trainer.devices={devices}: the {key.partition('.')[2]} of a step are shared out "
            f"over {count} devices, and some would have none. Type {key}={2 * count}, or fewer devices."
        )


def precision_fits_cpu(cfg: DictConfig) -> None:
    precision = cfg.trainer.precision
    if cfg.trainer.accelerator == "cpu" and precision == "16-mixed":
        raise ConfigError(
            f"trainer.precision={precision} with trainer.accelerator=cpu: half precision is for GPUs. "
            "Type trainer.precision=32-true (or bf16-mixed)."
        )


def monitor_is_measured(cfg: DictConfig) -> None:
    monitor, names = cfg.trainer.monitor, eval_sets(cfg)
    if monitor is None:
        return
    if monitor not in names:
        available = f"has {', '.join(names)}" if names else "has none"
        raise ConfigError(
            f"trainer.monitor={monitor}: no evaluation set of this name; dataset {available}."
            f"{did_you_mean(monitor, names)} Type trainer.monitor=null for the first one, or add the set to "
            "dataset=[...]."
        )
    if cfg.trainer.eval_every == 0:
        raise ConfigError(
            f"trainer.monitor={monitor} with trainer.eval_every=0: it is never measured. "
            "Type trainer.eval_every=1 or trainer.monitor=null."
        )


def early_stop_is_measured(cfg: DictConfig) -> None:
    patience = cfg.trainer.early_stop
    if patience is not None and (cfg.trainer.eval_every == 0 or not eval_sets(cfg)):
        raise ConfigError(
            f"trainer.early_stop={patience}: there is no evaluation that could tell when to stop. "
            "Type trainer.eval_every=1 with a dataset that has an evaluation set, or trainer.early_stop=null."
        )


def eval_sets_have_ground_truth(cfg: DictConfig) -> None:
    sets: Any = OmegaConf.select(cfg, "dataset.eval") or {}
    for name, node in sets.items():
        if OmegaConf.select(node, "protocol.no_positives") == "unknown":
            raise ConfigError(
                f"dataset.eval.{name}: its ground truth is not published, so training cannot be measured on it. "
                f"Take another evaluation set; evaluate.py dataset={name} writes its predictions."
            )


NEEDED_CALLBACKS = {
    "bad_images": "it ends a run in which too many images cannot be read.",
    "checkpoints": "it writes last.ckpt, from which a run goes on. Type trainer.checkpoint_every.minutes=null to have "
    "that at the ends of epochs alone.",
    "evaluation": "it writes best.ckpt. Type trainer.eval_every=0 to measure nothing.",
}


def callbacks_are_complete(cfg: DictConfig) -> None:
    callbacks = cfg.callbacks or {}
    for name, reason in NEEDED_CALLBACKS.items():
        if callbacks.get(name) is None:
            raise ConfigError(f"callbacks.{name}: a run needs it, as {reason} Leave ~callbacks.{name} out.")
    for name, node in callbacks.items():
        if node is not None and not (OmegaConf.is_dict(node) and node.get("_target_")):
            raise ConfigError(
                f"callbacks.{name}={node}: it has no class. Type for example "
                f"+callbacks.{name}._target_=pytorch_lightning.callbacks.LearningRateMonitor."
            )
        if node is not None and node.get("_partial_") and name not in NEEDED_CALLBACKS:
            raise ConfigError(
                f"callbacks.{name}._partial_: the run gives its objects to {', '.join(NEEDED_CALLBACKS)} alone. "
                f"Leave it out, and give callbacks.{name} all that it takes."
            )


def terms_have_a_teacher(cfg: DictConfig) -> None:
    teacher, terms = cfg.distillation.teacher, cfg.distillation.terms
    given = has_teacher(cfg)
    if terms and not given and not (teacher.make and teacher.recipe):
        raise ConfigError(f"distillation: nobody teaches the terms ({', '.join(terms)}). {teacher_advice(cfg)}")
    if given and not terms:
        raise ConfigError(
            "distillation=none has a teacher, and would learn nothing from it. Type distillation=similarity "
            "(or another one), or leave distillation.teacher out."
        )


def teacher_is_of_one_kind(cfg: DictConfig) -> None:
    teacher = cfg.distillation.teacher
    kinds = [kind for kind in ("ckpt", "backbone", "hub") if teacher[kind]]
    if len(kinds) > 1:
        raise ConfigError(
            f"distillation.teacher has a {' and a '.join(kinds)}, and can be only one of them. Leave the rest out."
        )
    if isinstance(teacher.backbone, str):
        raise ConfigError(
            f"distillation.teacher.backbone={teacher.backbone}: it is a whole group. "
            f"Type backbone@distillation.teacher.backbone={teacher.backbone}."
        )
    teachers = len(teacher.ckpt) if OmegaConf.is_list(teacher.ckpt) else 1
    share = teacher.share
    if share is not None and (len(share) != teachers or min(share) <= 0):
        raise ConfigError(
            f"distillation.teacher.share={share}: it takes one number above 0 for each of the {teachers} teachers. "
            "Type distillation.teacher.share=null for equal shares."
        )


def cache_pca_needs_a_cache(cfg: DictConfig) -> None:
    cache_pca, pca = cfg.distillation.cache_pca, cfg.distillation.teacher.pca
    if cache_pca and not cfg.distillation.cache:
        raise ConfigError(
            f"distillation.cache_pca={cache_pca}: it shortens the descriptors that a cache keeps, and there is none. "
            f"Type distillation.teacher.pca={cache_pca} instead, which needs no cache."
        )
    if cache_pca and pca and cache_pca != pca:
        raise ConfigError(
            f"distillation.cache_pca={cache_pca} is the earlier name of distillation.teacher.pca={pca}, and they "
            "differ. Leave distillation.cache_pca out."
        )


def teacher_can_be_whitened(cfg: DictConfig) -> None:
    pca = cfg.distillation.teacher.pca
    if pca is not None and pca != "student" and (not isinstance(pca, int) or pca < 1):
        raise ConfigError(f"distillation.teacher.pca={pca}: it must be a number of dimensions, or student for its own.")


def bank_is_of_cached_descriptors(cfg: DictConfig) -> None:
    bank = cfg.distillation.bank
    if bank is None:
        return
    if bank != "all" and not (_is_number(bank) and bank >= 1):
        raise ConfigError(
            f"distillation.bank={bank}: it must be a number of images, or all. Type distillation.bank=2048."
        )
    if not cfg.distillation.cache:
        raise ConfigError(
            f"distillation.bank={bank}: a bank holds cached descriptors of the teacher, and there is no cache. Type "
            "distillation.cache=true as well."
        )


def unlabelled_images_need_a_teacher(cfg: DictConfig) -> None:
    if cfg.supervision.reads != "images" or cfg.trainer.max_epochs == 0:
        return
    terms = list(cfg.distillation.terms)
    if not terms:
        raise ConfigError(
            "supervision=unlabelled: without labels only a teacher can say what to learn, and distillation=none has "
            f"none. Type 'distillation=[descriptor,similarity]' distillation.task_weight=0. {teacher_advice(cfg)}"
        )
    if cfg.distillation.task_weight:
        raise ConfigError(
            f"distillation.task_weight={cfg.distillation.task_weight:g} with supervision=unlabelled: there are no "
            "labels that a training loss could use. Type distillation.task_weight=0."
        )


def something_to_evaluate(cfg: DictConfig) -> None:
    if not eval_sets(cfg):
        raise ConfigError("dataset: it has no evaluation set. Choose one that has, for example dataset=toycity.")


def ks_count_from_one(cfg: DictConfig) -> None:
    shares = [re.fullmatch(r"(\d+(\.\d+)?)%", k) for k in cfg.ks or [] if isinstance(k, str)]
    numbers = [k for k in cfg.ks or [] if not isinstance(k, str)]
    shares_hold = all(share and 0 < float(share[1]) <= 100 for share in shares)
    if not cfg.ks or not shares_hold or not all(_is_number(k) and k >= 1 for k in numbers):
        raise ConfigError(
            f"ks={cfg.ks}: recall@k needs a k, and k counts from 1, or is a share of the "
            "database as 1%. Type for example 'ks=[1,5,10,20]'."
        )


def pca_goes_with_one_model(cfg: DictConfig) -> None:
    pca, usual = cfg.pca, OmegaConf.load(CONF / "evaluate.yaml").pca
    changed = [key for key in pca if pca[key] != usual[key]]
    if pca.dim is None and pca.file is None:
        if changed:
            raise ConfigError(f"pca.{changed[0]}={pca[changed[0]]} without pca.dim: add it, for example pca.dim=4096.")
    elif cfg.gallery_ckpt is not None:
        raise ConfigError(
            "pca with gallery_ckpt: components are those of one model, and here are two. Write the gallery with its "
            "components (evaluate.py ckpt=GALLERY pca.dim=... pca.save=OUT), and train a student into that one's space."
        )
    for key in ("dataset", "samples", "seed") if pca.file is not None else ():
        if key in changed:
            raise ConfigError(
                f"pca.file={pca.file} with pca.{key}={pca[key]}: a file has been fitted already. Leave one out."
            )


def frames_are_apart(cfg: DictConfig) -> None:
    if not cfg.every > 0:
        raise ConfigError(f"every={cfg.every:g}: it is the seconds between two frames of a video. Type every=1.")


def accept_is_a_share(cfg: DictConfig) -> None:
    if not 0 < cfg.accept <= 1:
        raise ConfigError(
            f"accept={cfg.accept:g}: it is the share of accepted answers that should be right, above 0 and at most 1. "
            "Type for example accept=0.95."
        )


def rerank_goes_with_the_rest(cfg: DictConfig) -> None:
    kind = str((cfg.rerank or {}).get("_target_", "")).rpartition(".")[2]
    if kind and cfg.calibrate is not None:
        raise ConfigError(
            f"calibrate={cfg.calibrate} with rerank: the confidence is that of the plain search, and re-ranking puts "
            "another match first. Type rerank=none, or leave calibrate out."
        )
    if kind == "InSequence" and cfg.watch:
        raise ConfigError(
            "watch=true with rerank=sequence: photos that come are answered one at a time, and have no frames around "
            "them. Type rerank=none, or ask the whole folder with watch=false."
        )


def students_can_be_chosen(cfg: DictConfig) -> None:
    Budget.parse(list(cfg.budget) if OmegaConf.is_list(cfg.budget) else str(cfg.budget))
    if not 0 < cfg.held_out.share <= 0.5:
        raise ConfigError(
            f"held_out.share={cfg.held_out.share:g}: it is the share of the images that no run sees, above 0 and at "
            "most 0.5. Type for example held_out.share=0.1."
        )
    for name, words in cfg.candidates.items():
        if not words:
            raise ConfigError(
                f"candidates.{name}={words}: it has no words of train.py. Type for example "
                f"\"candidates.{name}='backbone=mobilenet_v2 agg=gem image.size=[144,192]'\", or ~candidates.{name}."
            )
    if not cfg.candidates:
        raise ConfigError("candidates: there are none. Leave one of conf/distil.yaml in, or add one.")


def eval_sets(cfg: DictConfig) -> list[str]:
    """Return the names of the evaluation sets."""
    sets: Any = OmegaConf.select(cfg, "dataset.eval") or {}
    return list(sets)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


RULES: tuple[Rule, ...] = (known_keys, known_choices, large_enough)
TRAIN_RULES: tuple[Rule, ...] = (
    something_to_train_on,
    nothing_else_without_training,
    there_are_weights_to_interpolate,
    generations_need_their_supervision,
    image_size_is_known,
    image_size_fits_patches,
    devices_can_be_counted,
    each_device_has_a_share,
    precision_fits_cpu,
    eval_sets_have_ground_truth,
    monitor_is_measured,
    early_stop_is_measured,
    callbacks_are_complete,
    teacher_is_of_one_kind,
    teacher_can_be_whitened,
    unlabelled_images_need_a_teacher,
    terms_have_a_teacher,
    cache_pca_needs_a_cache,
    bank_is_of_cached_descriptors,
)
CLUSTER_RULES: tuple[Rule, ...] = (something_to_cluster, image_size_is_known, image_size_fits_patches)
EVALUATE_RULES: tuple[Rule, ...] = (
    something_to_evaluate,
    ks_count_from_one,
    pca_goes_with_one_model,
    exported_models_compute_as_they_are,
)
DEMO_RULES: tuple[Rule, ...] = (
    accept_is_a_share,
    frames_are_apart,
    rerank_goes_with_the_rest,
    exported_models_compute_as_they_are,
)
DISTIL_RULES: tuple[Rule, ...] = (students_can_be_chosen, frames_are_apart)
EXPORT_RULES: tuple[Rule, ...] = (
    precisions_are_known,
    int8_can_be_measured,
    export_size_is_a_size,
    bundle_is_complete,
    export_is_installed,
)
OF_SCRIPTS = {
    "trainer": TRAIN_RULES,
    "clusters": CLUSTER_RULES,
    "database": DEMO_RULES,
    "budget": DISTIL_RULES,
    "bound": EXPORT_RULES,
}
"""The rules of a script, by a key that it alone has."""
