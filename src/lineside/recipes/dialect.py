"""What a recipe may say: keys, steps, services of IPC with their operations, platforms, the grammar of image names.

Sources: the recipe reference and the interprocess communication pages of the Greengrass V2 developer guide; the image
grammar is that of the nucleus' own parser, which refuses a tag and a digest together. A step's or key's case does not
matter to the classic nucleus from 2.10.2 on; nucleus lite takes only what stands here.
"""

import re
from collections.abc import Mapping

FORMAT_VERSION = "2020-01-25"
MAX_NAME = 128
MAX_VERSION = 64
MAX_SCRIPT_BYTES = 10_000
"""The longest script that nucleus lite takes."""

RECIPE_KEYS = (
    "RecipeFormatVersion",
    "ComponentName",
    "ComponentVersion",
    "ComponentDescription",
    "ComponentPublisher",
    "ComponentType",
    "ComponentSource",
    "ComponentConfiguration",
    "ComponentDependencies",
    "Manifests",
    "Lifecycle",
)
REQUIRED_KEYS = ("RecipeFormatVersion", "ComponentName", "ComponentVersion", "Manifests")
MANIFEST_KEYS = ("Name", "Platform", "Lifecycle", "Selections", "Artifacts")
ARTIFACT_KEYS = ("Uri", "Unarchive", "Permission", "Digest", "Algorithm")
PERMISSION_KEYS = ("Read", "Execute")
DEPENDENCY_KEYS = ("VersionRequirement", "DependencyType")
STEP_KEYS = ("Script", "RequiresPrivilege", "Skipif", "Timeout", "Setenv")

STEPS = ("bootstrap", "install", "startup", "run", "shutdown", "recover", "uninstall")
SETENV = "setenv"
LITE_STEPS = ("bootstrap", "install", "startup", "run")
"""The steps that nucleus lite carries out; the others it does not know."""
ENDLESS_STEPS = ("run",)
"""Steps that have no time limit of their own."""

LITE = "aws_nucleus_lite"
OPERATING_SYSTEMS = ("linux", "darwin", "windows", "all", "*")
OTHER_NAMES: Mapping[str, str] = {"x86_64": "amd64", "x64": "amd64", "arm64": "aarch64", "armv8": "aarch64"}
"""What others call an architecture."""
ARCHITECTURES = ("amd64", "arm", "aarch64", "x86", "*")

_NUMBER = r"(?:0|[1-9][0-9]*)"
_LABEL = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_LABEL}(?:\.{_LABEL})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
"""A version. Source: semver.org, 2.0.0."""
_BOUND = rf"(?:[<>]=?|=|\^|~)?\s*(?:{_NUMBER}|[xX*])(?:\.(?:{_NUMBER}|[xX*])){{0,2}}(?:-[0-9A-Za-z.-]+)?"
RANGE = re.compile(rf"{_BOUND}(?:\s*(?:\|\||-|\s)\s*{_BOUND})*")
"""A range of versions as npm writes it."""
COMPONENT_NAME = re.compile(r"[A-Za-z0-9._-]+")

_DOMAIN_PART = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
REGISTRY = re.compile(rf"{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*(?::[0-9]+)?")
IMAGE_PART = re.compile(r"[a-z0-9]+(?:(?:[_.]|__|-*)[a-z0-9]+)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}")
S3_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s]*[^\s/]")

VARIABLE = re.compile(r"\{((?:[A-Za-z][\w.-]*:)?)(configuration|artifacts|work|kernel|iot):([^:{}]*)\}")
"""A recipe variable: of which component, of what, what of it."""
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "artifacts": ("path", "decompressedPath"),
    "work": ("path",),
    "kernel": ("rootPath",),
    "iot": ("thingName",),
}
