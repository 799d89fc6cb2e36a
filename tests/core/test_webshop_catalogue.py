"""WebShop: the synthetic catalogue, its search, and product files."""

import json

import pytest

from actfocus_core.envs import make_env
from actfocus_core.envs.webshop.catalogue import read_catalogue, synthetic_catalogue
from actfocus_core.envs.webshop.goals import is_similar
from actfocus_core.envs.webshop.search import words
from actfocus_core.envs.webshop.synthetic import DEPARTMENTS, make_records
from actfocus_core.errors import ActFocusError
from tests.core.webshop import product_record, write


def test_the_embedded_catalogue_is_seeded_and_varied():
    records = make_records(0)
    assert records == make_records(0) != make_records(1)
    assert len({r["asin"] for r in records}) == len(records) == 780
    assert {r["category"] for r in records} == set(DEPARTMENTS)
    shop = synthetic_catalogue(0, tuple(DEPARTMENTS))
    assert sum(bool(p.option_prices) for p in shop.products) > 200


def test_an_attribute_is_found_only_in_products_that_have_it():
    for name, department in DEPARTMENTS.items():
        attributes = department.attributes.split()
        assert not any(is_similar(a, b) for a in attributes for b in attributes if a != b)
        for product in synthetic_catalogue(0, (name,)).products:
            found = {a for a in attributes if a in product.text}
            assert found == set(product.attributes)


def test_search_finds_by_words_in_any_form_and_order():
    shop = synthetic_catalogue(0, ("fashion",))
    assert shop.search("a wool Shirts") == shop.search("shirt wool") != ()
    assert "shirt" in shop.search("shirt")[0].title.lower()
    assert len(shop.search("soft warm wool shirt dress hat")) == 50
    assert shop.search("") == shop.search("the of") == shop.search("qwerty") == ()


def test_search_words():
    assert words("The Berries, of shoes and a DRESS plus 10 cactus") == [
        "berry",
        "shoe",
        "dress",
        "plus",
        "10",
        "cactus",
    ]


# --- a product file --------------------------------------------------------------------------


def test_a_webshop_product_file_is_read_as_webshop_reads_it(tmp_path):
    path = write(
        tmp_path,
        [
            product_record(),
            product_record(name=None),
            product_record(asin="nan-and-too-long"),
            product_record(asin="nan", name=None),
            product_record(asin="B000000002", pricing="", customization_options="", small_description="One"),
            product_record(asin="B000000003", pricing="$1,299.00", full_description=None, customization_options=None),
        ],
    )
    shop = read_catalogue(path)
    first, second, third = shop.products
    assert first.options == {"color": ("red | blue",)} and 12.99 <= first.price <= 15.99
    assert (second.price, second.bullets, second.options) == (100.0, ("One",), {})
    assert third.price == 1299.0
    env = make_env("webshop", catalogue=path)
    assert env.goal.attributes == ("machine wash",)
    assert read_catalogue(path) is shop, "read once"


def test_one_product_a_line_is_read_too(tmp_path):
    lines = "\n".join(json.dumps(product_record(asin=f"B{i}")) for i in range(3))
    assert len(read_catalogue(write(tmp_path, lines)).products) == 3


def test_instructions_and_attributes_come_from_the_second_file(tmp_path):
    path = write(tmp_path, [product_record(Attributes=[])])
    said = tmp_path / "items_ins.json"
    said.write_text(
        json.dumps(
            {
                "B000000001": {
                    "attributes": ["machine wash", "soft"],
                    "instruction": "Find me soft women's shirts.",
                    "instruction_attributes": ["soft"],
                }
            }
        )
    )
    env = make_env("webshop", catalogue=path, instructions=said, price_ceiling=False)
    assert env.goal.instruction == "Find me soft women's shirts with color: red | blue"
    assert env.goal.attributes == ("soft",)
    said.write_text('{"B000000001": {\n"attributes": "soft"}}')
    with pytest.raises(ActFocusError, match="ins.json line 2: product B000000001: field attributes"):
        make_env("webshop", catalogue=path, instructions=said)


def test_without_attributes_the_bullet_points_give_them(tmp_path):
    path = write(tmp_path, [product_record(asin=f"B{i}", Attributes=[]) for i in range(3)])
    first = make_env("webshop", catalogue=path).shop.products[0]
    assert first.attributes == ("soft cotton", "machine wash")


def test_button_labels_never_clash(tmp_path):
    clash = {"Color": [{"value": "buy now"}, {"value": "red||blue"}], "Size": [{"value": "Buy  NOW"}, {"value": "s"}]}
    path = write(tmp_path, [product_record(asin="next >", customization_options=clash)])
    env = make_env("webshop", catalogue=path)
    env.step(["search[shirt]"])
    env.step(["click[next >]"])
    labels = [b.label for b in env.page().buttons]
    assert len(set(labels)) == len(labels) and not any("||" in label for label in labels)
    env.step(["click[color: buy now]"])
    assert env.location.chosen == (("color", "buy now"),) and not env.bought


def broken(change):
    good, bad = product_record(), product_record(asin="B000000002")
    change(bad)
    return [good, bad]


@pytest.mark.parametrize(
    "change, field",
    [
        (lambda p: p.pop("name"), "name"),
        (lambda p: p.update(name=None), "name"),
        (lambda p: p.update(asin=7), "asin"),
        (lambda p: p.update(pricing=12.5), "pricing"),
        (lambda p: p.update(pricing="cheap"), "pricing"),
        (lambda p: p.update(pricing="$1.2.3"), "pricing"),
        (lambda p: p.update(small_description=[1]), "small_description.0"),
        (lambda p: p.pop("full_description"), "full_description"),
        (lambda p: p.update(customization_options={"color": [{"name": "red"}]}), "customization_options.color.0.value"),
        (lambda p: p.update(customization_options={"color": "red"}), "customization_options.color"),
        (lambda p: p.update(Attributes="soft"), "Attributes"),
    ],
)
def test_a_broken_product_is_refused_with_line_product_and_field(tmp_path, change, field):
    path = write(tmp_path, broken(change))
    with pytest.raises(ActFocusError) as error:
        make_env("webshop", catalogue=path)
    message, lines = str(error.value), path.read_text().splitlines()
    line = int(message.split(" line ")[1].split(":")[0])
    key = f'"{field.split(".")[0]}"'
    second = next(i for i, text in enumerate(lines) if "B000000002" in text or '"asin": 7' in text)
    there = any(key in text for text in lines[second:])
    assert line > second - 1 and (key in lines[line - 1] if there else lines[line - 1].strip() == "{")
    assert f": product 2 (B000000002): field {field}: " in message or field == "asin"
    assert "must be" in message and "\n" not in message


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no product"),
        ("[]", "no product"),
        ("[{},\n{}]", "line 1: product 1: field asin: is missing"),
        ("[\n1]", "line 2: product 1 is not an object"),
        ('[{"asin": }]', "line 1: not JSON"),
        ("[" + json.dumps({}), "line 1"),
        ("hello", "line 1: not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_product_file_is_refused(tmp_path, text, said):
    with pytest.raises(ActFocusError, match=said) as error:
        make_env("webshop", catalogue=write(tmp_path, text))
    assert "items.json" in str(error.value) and "\n" not in str(error.value)


def test_a_file_cut_off_or_with_more_after_its_end_is_refused(tmp_path):
    whole = json.dumps([product_record()], indent=1)
    with pytest.raises(ActFocusError, match="seems truncated"):
        make_env("webshop", catalogue=write(tmp_path, whole[:-2]))
    with pytest.raises(ActFocusError, match="after the end"):
        make_env("webshop", catalogue=write(tmp_path, whole + "\n[]"))
    with pytest.raises(ActFocusError, match="comma"):
        make_env("webshop", catalogue=write(tmp_path, whole[:-1] + "{}]"))


def test_no_file_and_no_text_are_refused(tmp_path):
    with pytest.raises(ActFocusError, match="nowhere.json"):
        make_env("webshop", catalogue=tmp_path / "nowhere.json")
    (tmp_path / "items.json").write_bytes(b"\xff\xfe[]")
    with pytest.raises(ActFocusError, match="UTF-8"):
        make_env("webshop", catalogue=tmp_path / "items.json")
