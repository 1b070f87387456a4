"""Errors that a user can cause and mend. Each message says what was found, where, and what to do about it."""


class VPRError(Exception):
    """Base of all errors whose message is shown to the user, without a traceback."""


class ConfigError(VPRError):
    """A setting is wrong or does not go with another one."""


class WeightsUnavailable(ConfigError):
    """Pretrained weights were asked for and cannot be had."""


class DiskError(VPRError, OSError):
    """A file cannot be written: its disk is full or read-only, or its folder is not the user's to write to."""


class DataError(VPRError):
    """Images, lists or ground truth are missing, damaged or not what the protocol says."""


class DataAbsent(DataError):
    """A data set is not there at all: no folder, or none of its files."""


class IndexDamaged(DataError):
    """The files of a place index cannot be read, or do not belong together: it must be built again."""


class CheckpointError(VPRError):
    """A checkpoint is missing, damaged, from elsewhere, or does not fit the model."""
