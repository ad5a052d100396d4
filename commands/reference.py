"""`make reference`: writes docs/reference/, the diagram in docs/concepts/architecture.md and the table of stages in the README.

Each page comes from what owns its facts: models of params, settings of the server, environment of the graph, OpenAPI document,
commands/metrics.yaml.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from serving.settings import Settings
from serving.web.application import create_app
from stages.shared.environment import OF_LIBRARIES, Environment
from stages.shared.params import Section

REFERENCE = Path("docs/reference")
README = Path("README.md")
ARCHITECTURE = Path("docs/concepts/architecture.md")
PACKAGES = {"stages/shared": "stages.shared", "serving": "serving"}
METRICS = Path(__file__).with_name("metrics.yaml")
NOTE = "<!-- Written by `make reference`. Change the code that owns a fact, not this page. -->"
STAGES = ("base_model", "preprocess", "label_noise", "train", "export", "evaluate", "emotion_distribution")


def pages() -> dict[Path, str]:
    """Return the content of every generated page."""
    return {
        REFERENCE / "params.md": params_page(),
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "environment.md": environment_page(),
        REFERENCE / "http.md": http_page(),
        REFERENCE / "metrics.md": metrics_page(),
        ARCHITECTURE: between(ARCHITECTURE.read_text("utf-8"), "packages", diagrams()),
        README: between(README.read_text("utf-8"), "stages", table_of_stages()),
    }


def page(title: str, introduction: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", NOTE, introduction, *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in line) + " |" for line in lines)


def params_page() -> str:
    """Describe every param: section by section, in the order of params.yaml."""
    values = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text("utf-8"))
    parts = []
    for stage in STAGES:
        model = params_model(stage)
        schema = model.model_json_schema()
        rows = [
            (code(name), code(value), allowed(resolved(schema["properties"][name], schema)), one_line(model.model_fields[name].description))
            for name, value in values[stage].items()
        ]
        parts.append(f"## {stage}\n{table(('param', 'default', 'allowed', 'meaning'), rows)}")
    introduction = (
        "This page lists every param of `params.yaml`, with its default and meaning. A param changes a result. "
        "Change one for a single run with "
        "`dvc exp run -S train.epochs=5`."
    )
    return page("Params", introduction, parts)


def params_model(stage: str) -> type[Section]:
    """Return the model of a stage's section: the one that holds exactly its keys."""
    module = import_module(f"stages.{stage}")
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    (model,) = (value for value in own if issubclass(value, Section) and value.model_config.get("extra") == "forbid")
    return model


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within a JSON schema."""
    return root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def allowed(schema: Mapping[str, Any]) -> str:
    """Say in words which values a JSON schema allows."""
    if "anyOf" in schema:
        return " or ".join(allowed(part) for part in schema["anyOf"])
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return " or ".join(map(code, schema["enum"]))
    if schema.get("type") == "array":
        items = schema.get("items") or {}
        return f"list of {allowed(items)}" if items else "list"
    bounds = [
        f"{words} {schema[key]}"
        for key, words in (("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"), ("exclusiveMaximum", "below"))
        if key in schema
    ]
    name = {"string": "text", "integer": "whole number"}.get(schema["type"], schema["type"])
    return " ".join([name, ", ".join(bounds)]).strip()


def settings_page() -> str:
    """Describe the settings of the server."""
    introduction = (
        "This page lists the environment variables of the server and of `python -m serving.score`. An empty variable counts as not set."
    )
    rows = [
        (code(f"SENTIMENT_{name.upper()}"), default_of(field), one_line(field.description)) for name, field in Settings.model_fields.items()
    ]
    return page("Settings of the server", introduction, [table(("variable", "default", "meaning"), rows)])


def environment_page() -> str:
    """Describe the environment variables of the graph, and those of libraries."""
    introduction = "This page lists the environment variables of the graph and the commands. None of them changes a result."
    rows = [(code(field.alias or name), default_of(field), one_line(field.description)) for name, field in Environment.model_fields.items()]
    of_libraries = [(code(name), meaning) for name, meaning in OF_LIBRARIES.items()]
    parts = [table(("variable", "default", "meaning"), rows), "## Of libraries", table(("variable", "meaning"), of_libraries)]
    return page("Environment variables of the graph", introduction, parts)


def default_of(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined or default is None or default == "":
        return "not set"
    return code(list(default) if isinstance(default, tuple) else default)


def http_page() -> str:
    """Describe the routes, from the OpenAPI document."""
    document = create_app(Settings()).openapi()
    parts = []
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            lines = [f"## {method.upper()} {path}", f"{route['summary']}.", one_line(route.get("description", ""))]
            content = route.get("requestBody", {}).get("content", {})
            if content:
                lines.append(f"Body: {', '.join(map(code, content))}.")
            queries = [(code(query["name"]), one_line(query.get("description"))) for query in route.get("parameters", [])]
            if queries:
                lines.append(table(("query", "meaning"), queries))
            answers = [
                (status, one_line(answer["description"]).replace("Successful Response", "the answer"))
                for status, answer in sorted(route["responses"].items())
            ]
            lines.append(table(("status", "meaning"), answers))
            parts.append("\n\n".join(line for line in lines if line))
    introduction = (
        "This page lists every route of the server, with its requests and answers. "
        'Every failure is `{"detail": "<message>"}` with its status. '
        "`GET /docs` shows the same with schemas and a form to try each route."
    )
    return page("HTTP routes", introduction, parts)


def metrics_page() -> str:
    """Describe every figure of every stage."""
    introduction = (
        "This page explains every figure that a stage writes. Each stage but `base_model` writes two JSON files. "
        "The file in `metrics/` is in git and holds the few figures that `dvc metrics diff` compares, which are marked below. "
        "The file in `data/` holds all figures, and so does the MLflow run. "
        "`<name>` in a key stands for a part that differs, such as a class."
    )
    graph = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text("utf-8"))["stages"]
    parts = []
    for stage, meanings in meanings_of_metrics().items():
        details = flag_of(graph[stage]["cmd"], "details")
        compared = import_module(f"stages.{stage}").COMPARED
        rows = [(code(key), "yes" if is_among(key, compared) else "", meaning) for key, meaning in meanings.items()]
        parts.append(f"## {stage}\nAll figures: `{details}`.\n\n{table(('key', f'in metrics/{stage}.json', 'meaning'), rows)}")
    return page("Metrics", introduction, parts)


def flag_of(command: str, flag: str) -> str:
    """Return the value of a flag of a stage's command."""
    words = command.split()
    return words[words.index(f"--{flag}") + 1]


def is_among(key: str, names: Sequence[str]) -> bool:
    """Tell whether a dotted key is one of the names, or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def meanings_of_metrics() -> dict[str, dict[str, str]]:
    """Return the meaning of each key of each stage."""
    meanings: dict[str, dict[str, str]] = YAML(typ="safe", pure=True).load(METRICS.read_text("utf-8"))
    return meanings


def between(text: str, name: str, content: str) -> str:
    """Put content between the marks `<!-- name: begin -->` and `<!-- name: end -->`."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, _, rest = text.partition(begin)
    return "".join([head, begin, content, "\n", end, rest.partition(end)[2]])


def table_of_stages() -> str:
    """Return the table of stages, whose words dvc.yaml owns."""
    graph = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text("utf-8"))["stages"]
    return table(("stage", "does"), [(code(name), definition["desc"]) for name, definition in graph.items()])


def diagrams() -> str:
    """Draw the imports between the packages of stages/shared and of serving."""
    return "\n".join(f"### {title}\n```mermaid\n{mermaid(graph_of(package))}\n```" for title, package in PACKAGES.items())


def graph_of(package: str) -> str:
    """Return the imports between the parts of a package, as import-linter draws them in the DOT language."""
    command = [str(Path(sys.executable).with_name("import-linter")), "drawgraph", package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def mermaid(dot: str) -> str:
    """Translate a DOT graph into Mermaid, which GitHub draws. A package ends in a slash."""
    names = {name: name + ("/" if label else ".py") for name, label in re.findall(r'^ +"\.(\w+)"( \[label=.*)?$', dot, re.MULTILINE)}
    arrows = re.findall(r'"\.(\w+)" -> +"\.(\w+)"', dot)
    drawn = {name for arrow in arrows for name in arrow}
    lines = [f'    {name}["{names[name]}"]' for name in names if name in drawn]
    return "\n".join(["graph TD", *lines, *(f"    {importer} --> {imported}" for importer, imported in arrows)])


def code(value: object) -> str:
    """Return a value as Markdown code, written so that YAML and the shell both read it."""
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" if value != "" else '`""`'


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def main() -> None:
    """Write the pages that differ."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for file, content in pages().items():
        if not file.exists() or file.read_text("utf-8") != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")
            print(f"wrote {file}")


if __name__ == "__main__":
    main()
