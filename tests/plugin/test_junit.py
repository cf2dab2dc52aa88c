"""JUnit's file: valid, with the numbers as properties and in the failure's text."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

RECIPES = """
@recipe
def healthy():
    return made(train_data=[(X, Y)])

@recipe
def cut():
    return made(Net(cut=True), loss=lambda o, t: 100 * nn.functional.cross_entropy(o, t))

@recipe
@pytest.mark.dlcheck(select=["data"])
def open_question():
    return made(train_data=[(X[:1], Y[:1])])

@recipe
@pytest.mark.dlcheck(select=["data"])
def weird():
    raise ValueError("control \\x00\\x1b[31m characters <&> ]]>")
"""


@pytest.fixture
def cases(project):
    """The test cases by class and name, and the suite."""
    project.recipes(RECIPES)
    project.check("--junitxml=out.xml", "-o", "junit_family=xunit2")
    return {
        f"{case.get('classname')}::{case.get('name')}": case
        for case in ET.parse(project.path / "out.xml").getroot().iter("testcase")
    }


def properties(case) -> dict[str, str]:
    return {p.get("name"): p.get("value") for p in case.iter("property")}


def test_every_item_is_a_case_with_names_and_times(cases):
    assert len(cases) == 4 + 4 + 1 + 1
    assert all(float(case.get("time")) >= 0 for case in cases.values())
    assert "test_it.healthy::loss_is_low" in cases


def test_numbers_are_properties(cases):
    found = properties(cases["test_it.healthy::batch_is_plenty"])
    assert found["dlcheck.recipe"] == "healthy"
    assert found["dlcheck.check"] == "batch_is_plenty"
    assert found["dlcheck.outcome"] == "passed"
    assert found["dlcheck.measure.samples"] == "64 count"
    assert found["dlcheck.measure.samples.bound"] == ">= 1 count"
    assert found["dlcheck.advice"] == "take smaller batches"
    assert "dlcheck.trial" in found


def test_a_failure_tells_the_diagnosis_with_its_numbers(cases):
    case = cases["test_it.cut::gradients_arrive"]
    (failure,) = case.iter("failure")
    assert failure.get("message").startswith("2 of 4 parameters receive no gradient")
    assert "encoder" in failure.text
    assert "measured" in failure.text
    assert properties(case)["dlcheck.sites"] == "encoder.weight, encoder.bias"
    assert properties(case)["dlcheck.cause"] == "the graph is cut"


def test_a_consequence_names_its_cause(cases):
    case = cases["test_it.cut::loss_is_low"]
    (failure,) = case.iter("failure")
    assert failure.text.startswith("because of gradients_arrive: the final loss")
    assert properties(case)["dlcheck.because_of"] == "gradients_arrive"


def test_what_is_open_is_skipped_with_its_reason(cases):
    (skipped,) = cases["test_it.open_question::batch_is_plenty"].iter("skipped")
    reason = "inconclusive: 1 sample says nothing, at least 2 do (open_question::batch_is_plenty)"
    assert skipped.get("message") == reason


def test_control_characters_leave_the_file_readable(cases):
    (failure,) = cases["test_it.weird::batch_is_plenty"].iter("failure")
    assert "characters <&> ]]>" in failure.text


def test_the_file_is_as_the_schema_has_it(cases, project):
    xmlschema = pytest.importorskip("xmlschema")
    schema = xmlschema.XMLSchema(SCHEMA)
    schema.validate(str(project.path / "out.xml"))


SCHEMA = """\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="testsuites"><xs:complexType><xs:sequence>
    <xs:element name="testsuite" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="testcase" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
        <xs:element name="properties" minOccurs="0"><xs:complexType><xs:sequence>
          <xs:element name="property" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
            <xs:attribute name="name" type="xs:string" use="required"/>
            <xs:attribute name="value" type="xs:string" use="required"/>
          </xs:complexType></xs:element>
        </xs:sequence></xs:complexType></xs:element>
        <xs:choice minOccurs="0" maxOccurs="unbounded">
          <xs:element name="failure" type="told"/>
          <xs:element name="error" type="told"/>
          <xs:element name="skipped" type="told"/>
          <xs:element name="system-out" type="xs:string"/>
          <xs:element name="system-err" type="xs:string"/>
        </xs:choice>
      </xs:sequence>
      <xs:attribute name="classname" type="xs:string" use="required"/>
      <xs:attribute name="name" type="xs:string" use="required"/>
      <xs:attribute name="time" type="xs:decimal" use="required"/>
      </xs:complexType></xs:element>
    </xs:sequence>
    <xs:attribute name="name" type="xs:string" use="required"/>
    <xs:attribute name="errors" type="xs:int" use="required"/>
    <xs:attribute name="failures" type="xs:int" use="required"/>
    <xs:attribute name="skipped" type="xs:int" use="required"/>
    <xs:attribute name="tests" type="xs:int" use="required"/>
    <xs:attribute name="time" type="xs:decimal" use="required"/>
    <xs:attribute name="timestamp" type="xs:dateTime" use="required"/>
    <xs:attribute name="hostname" type="xs:string" use="required"/>
    </xs:complexType></xs:element>
  </xs:sequence><xs:anyAttribute processContents="skip"/></xs:complexType></xs:element>
  <xs:complexType name="told"><xs:simpleContent><xs:extension base="xs:string">
    <xs:attribute name="message" type="xs:string" use="required"/>
    <xs:attribute name="type" type="xs:string"/>
  </xs:extension></xs:simpleContent></xs:complexType>
</xs:schema>
"""
