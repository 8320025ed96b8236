"""The report as JUnit XML: one test case for each gate, its figures as properties."""

import re
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.gates.judge import is_open

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: dict[str, Any]) -> str:
    """Return the report as JUnit XML.

    A failed gate is a failure, an inconclusive one an error. So are a failed stage, and a gate on
    what was not measured unless its engine is for a GPU elsewhere. A gate that only warns is
    a passed case with its warning as output.
    """
    suite = ET.Element("testsuite", name="madpipe", timestamp=report["run"]["started_utc"])
    for stage in report["stages"]:
        if stage["status"] == "failed":
            case = ET.SubElement(suite, "testcase", classname="stages", name=stage["name"])
            ET.SubElement(case, "error", message=stage.get("message", ""))
    for gate in report["gates"]:
        _case(suite, gate)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", f"{report['run']['elapsed_s']:.3f}")
    for element in suite.iter():
        for name, value in element.attrib.items():
            element.set(name, _NOT_XML.sub("?", value))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, gate: dict[str, Any]) -> None:
    case = ET.SubElement(suite, "testcase", classname="gates", name=gate["name"])
    properties = ET.SubElement(case, "properties")
    low, high = gate["interval"] or (None, None)
    figures = {"value": gate["value"], "low": low, "high": high}
    figures |= {name: gate[name] for name in ("threshold", "confidence", "n", "needed")}
    for name, value in figures.items():
        if value is not None:
            ET.SubElement(properties, "property", name=name, value=repr(value))
    ET.SubElement(properties, "property", name="severity", value=gate["severity"])
    is_open_gate = is_open(gate["verdict"], gate["is_elsewhere"])
    if gate["severity"] == "warn" and (gate["verdict"] == "fail" or is_open_gate):
        said = ET.SubElement(case, "system-out")
        said.text = _NOT_XML.sub("?", f"warning: {gate['verdict']}: {gate['reason']}")
        return
    tags = {"fail": "failure", "skipped": "skipped"}
    if tag := "error" if is_open_gate else tags.get(gate["verdict"]):
        ET.SubElement(case, tag, message=gate["reason"])
