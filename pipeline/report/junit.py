"""The report as JUnit XML: one test case for each gate, its figures as properties."""

import re
from xml.etree import ElementTree as ET

from pipeline.gates.judge import Verdict
from pipeline.report.records import Report

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """Return the report as JUnit XML.

    A failed gate is a failure, an inconclusive one an error. So are a failed stage, and a gate on
    what was not measured unless its engine is for a GPU elsewhere. A gate that only warns is
    a passed case with its warning as output.
    """
    suite = ET.Element("testsuite", name="madpipe", timestamp=report.run.started_utc)
    if report.real_images:
        properties = ET.SubElement(suite, "properties")
        statement = report.real_images.statement
        ET.SubElement(properties, "property", name="real_images", value=statement)
    for stage in report.stages:
        if stage.status == "failed":
            case = ET.SubElement(suite, "testcase", classname="stages", name=stage.name)
            ET.SubElement(case, "error", message=stage.message)
    for gate in report.gates:
        _case(suite, gate)
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{report.run.elapsed_s:.3f}")
    for element in suite.iter():
        for name, value in element.attrib.items():
            element.set(name, _NOT_XML.sub("?", value))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, gate: Verdict) -> None:
    case = ET.SubElement(suite, "testcase", classname="gates", name=gate.name)
    properties = ET.SubElement(case, "properties")
    low, high = gate.interval or (None, None)
    figures = {
        "value": gate.value,
        "low": low,
        "high": high,
        "threshold": gate.threshold,
        "confidence": gate.confidence,
        "n": gate.n,
        "needed": gate.needed,
    }
    for name, value in figures.items():
        if value is not None:
            ET.SubElement(properties, "property", name=name, value=repr(value))
    ET.SubElement(properties, "property", name="severity", value=gate.severity)
    if gate.only_warns and gate.is_unmet:
        output = ET.SubElement(case, "system-out")
        output.text = _NOT_XML.sub("?", f"warning: {gate.verdict}: {gate.reason}")
    elif gate.verdict != "pass":
        tag = "failure" if gate.verdict == "fail" else "error" if gate.is_open else "skipped"
        ET.SubElement(case, tag, message=gate.reason)
