"""WebShop: its rules, its catalogue, its score, and the oracle against brute force."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from itertools import product as product_of

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.envs import make_env
from actfocus_core.envs.webshop import TINY
from actfocus_core.envs.webshop.catalogue import read_catalogue, synthetic_catalogue
from actfocus_core.envs.webshop.goals import Goal, alike, make_goal, score, token_set_ratio
from actfocus_core.envs.webshop.pages import Location
from actfocus_core.envs.webshop.search import words
from actfocus_core.envs.webshop.synthetic import DEPARTMENTS, make_records
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.webshop import solve, turns_left

PRESETS = {"paper": {}, "tiny": TINY}
presets = pytest.mark.parametrize("options", PRESETS.values(), ids=PRESETS)
picks = st.lists(
    st.one_of(
        st.integers(0, 10_000),
        st.text(max_size=30),
        st.text(max_size=20).map("search[{}]".format),
        st.text(max_size=20).map("click[{}]".format),
    ),
    max_size=12,
)
"""An action a turn: a number picks a legal action, a text is what a policy might write."""


def play(env, choice):
    legal = env.legal_actions()
    text = legal[choice % len(legal)] if isinstance(choice, int) and legal else str(choice)
    return text, env.step([text])


def facts(env):
    return env.observation(), env.state_key(), env.state(), env.legal_actions(), env.svg()


# --- the environment -------------------------------------------------------------------------


def test_the_papers_settings_are_the_preset():
    options = make_env("webshop").options
    assert (options.max_turns, options.max_actions, options.actions_per_turn) == (9, 9, 1)
    assert options.format_penalty == -0.1 and options.results_per_page == 10


@pytest.mark.parametrize(
    "options, named",
    [
        ({"results_per_page": 0}, "results_per_page"),
        ({"actions_per_turn": 2}, "actions_per_turn"),
        ({"departments": ("toys",)}, "departments"),
        ({"wheels": 4}, "wheels"),
        ({"instructions": "items_ins.json"}, "catalogue"),
    ],
)
def test_options_are_checked(options, named):
    with pytest.raises(ActFocusError, match=named):
        make_env("webshop", **options)


@presets
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_any_strings_replay_and_the_state_moves_only_by_legal_actions(options, seed, choices):
    env, again, restored = (make_env("webshop", **options) for _ in range(3))
    env.reset(seed)
    texts = []
    for choice in choices:
        before, legal, spent = env.location, env.legal_actions(), env.turn
        text, step = play(env, choice)
        texts.append(text)
        done = step.info["actions"]
        assert len(done) <= 1 and step.info["penalty"] == (0.0 if done or spent == env.turn else -0.1)
        if not done:
            assert env.location == before
        elif not done[0].startswith("search["):
            assert done[0] in legal
        else:
            assert before.kind == "search"
        assert step.info["bought"] == step.terminated and 0 <= step.info["score"] <= 1
        assert step.info["success"] == (step.info["score"] == 1)
    again.reset(seed)
    for text in texts:
        again.step([text])
    restored.restore(json.loads(json.dumps(env.state())))
    assert facts(again) == facts(env) == facts(restored) == facts(env.clone())


@presets
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks, more=picks)
def test_clone_and_restore_commute_with_step(options, seed, choices, more):
    env, restored = make_env("webshop", **options), make_env("webshop", **options)
    env.reset(seed)
    for choice in choices:
        play(env, choice)
    copy = env.clone()
    restored.restore(env.state())
    kept = facts(env)
    for choice in more:
        assert play(copy, choice) == play(restored, choice)
        assert facts(copy) == facts(restored)
    assert facts(env) == kept, "a clone is independent"
    assert copy.shop is env.shop, "the catalogue is shared"


@presets
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_legal_actions_are_understood_in_any_case_and_spacing(options, seed, choices):
    env = make_env("webshop", **options)
    env.reset(seed)
    for choice in choices:
        play(env, choice)
    legal = env.legal_actions()
    assert len(set(legal)) == len(legal)
    for action in legal:
        verb, _, label = action[:-1].partition("[")
        assert env.parse(action) == env.parse(f"  {verb.upper()} [ {label.upper()} ] ") == action


def test_searching_needs_a_search_box_and_words():
    env = make_env("webshop")
    assert env.parse("search[red shirt]") == "search[red shirt]"
    assert env.parse("search[ \n]") is None and env.parse("search red shirt") is None
    assert env.parse("click[search]") is None
    env.step(["search[Red  SHIRT]"])
    assert env.location == Location("results", "red shirt")
    assert env.parse("search[blue hat]") is None, "one goes back to search first"
    assert env.step(["search[blue hat]"]).info["penalty"] == -0.1


def test_a_search_that_finds_nothing_leads_back():
    env = make_env("webshop")
    step = env.step(["search[zzz !!! …]"])
    assert step.info["valid"] and env.legal_actions() == ["click[back to search]"]


def test_options_are_kept_on_the_way_to_the_description_and_lost_in_the_results():
    env = make_env("webshop", departments=("fashion",))
    env.step(["search[shirt]"])
    env.step([env.page().group("product")[0].action])
    color = env.page().options()["color"][1]
    env.step([color.action])
    env.step(["click[features]"])
    env.step(["click[< prev]"])
    assert env.location.chosen == (("color", color.label),)
    assert [b.label for b in env.page().options()["color"] if b.chosen] == [color.label]
    env.step(["click[< prev]"])
    assert env.location == Location("results", "shirt")


def test_pages_turn_and_hold_every_result_once():
    env = make_env("webshop", results_per_page=7, max_turns=50, max_actions=50)
    env.step(["search[wool]"])
    seen = []
    while True:
        seen += [b.label for b in env.page().group("product")]
        if "click[next >]" not in env.legal_actions():
            break
        env.step(["click[next >]"])
    assert seen == [p.asin.lower() for p in env.shop.search("wool")]
    assert "click[< prev]" in env.legal_actions()


def test_the_episode_ends_with_its_turns_or_the_purchase():
    env = make_env("webshop")
    for _ in range(9):
        step = env.step(["nonsense"])
    assert step.truncated and not step.terminated and env.legal_actions() == []
    env.reset(0)
    env.step(["search[shirt]"])
    env.step([env.page().group("product")[0].action])
    step = env.step(["click[Buy Now]"])
    assert step.terminated and not step.truncated and step.info["bought"] and step.info["score"] < 1
    assert step.reward == 0 and not step.info["success"]
    assert env.step(["click[back to search]"]).info["actions"] == []


def test_reward_may_be_the_graded_score():
    rewards = {}
    for reward in ("strict", "score"):
        env = make_env("webshop", reward=reward)
        env.reset(3)
        env.step([env.legal_actions()[0]])
        env.step([env.page().group("product")[0].action])
        step = env.step(["click[buy now]"])
        rewards[reward] = step.reward, step.info["score"]
    assert rewards["score"][0] == rewards["score"][1] == rewards["strict"][1]
    assert rewards["strict"][0] == 0 < rewards["score"][0] < 1


@presets
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_the_drawing_is_one_well_formed_svg(options, seed, choices):
    env = make_env("webshop", **options)
    env.reset(seed)
    for choice in choices:
        play(env, choice)
    root = ET.fromstring(env.svg())
    assert root.tag.endswith("svg") and "<script" not in env.svg()


def test_markup_in_a_search_is_escaped():
    env = make_env("webshop")
    env.step(['search[<script>alert(1)</script> & "shirt"]'])
    assert "<script" not in env.svg()
    ET.fromstring(env.svg())


def test_goals_depend_on_the_seed_alone():
    env, other = make_env("webshop"), make_env("webshop")
    other.reset(1)
    assert env.reset(7, rollout=0) == other.reset(7, rollout=3)
    assert len({env.reset(seed) for seed in range(50)}) > 45


def test_the_compact_form_is_short():
    env = make_env("webshop", **TINY)
    for seed in range(20):
        lengths = [len(env.reset(seed).split())]
        for action in (env.legal_actions()[0], "click[1]"):
            lengths.append(len(env.step([action]).observation.split()))
        assert max(lengths) < 60


# --- goals and the score ---------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**9), attributes=st.integers(1, 5), options=st.integers(0, 3))
def test_every_goal_is_met_by_its_own_product(seed, attributes, options):
    shop = synthetic_catalogue(0, tuple(DEPARTMENTS))
    goal = make_goal(shop, seed, attributes, options)
    assert score(shop, goal, shop.by_asin[goal.asin], dict(goal.options)).total == 1
    assert Goal.from_json(json.loads(json.dumps(goal.to_json()))) == goal


def test_the_score_counts_each_demand():
    shop = synthetic_catalogue(0, ("fashion",))
    goal = next(g for g in (make_goal(shop, s, 2, 2) for s in range(100)) if len(g.options) == 2 and g.price_upper)
    own, chosen = shop.by_asin[goal.asin], dict(goal.options)
    assert score(shop, goal, own, {}).total == 3 / 5
    assert score(shop, goal, own, dict([goal.options[0]])).total == 4 / 5
    dear = replace(goal, price_upper=1.0)
    assert score(shop, dear, own, chosen).total == 4 / 5
    more = replace(goal, attributes=(*goal.attributes, "unheard of"))
    assert score(shop, more, own, chosen).total == 5 / 6
    stranger = next(p for p in shop.products if p.query != goal.query)
    assert score(shop, goal, stranger, chosen).total == 0, "not the kind of thing wanted"


def test_an_options_price_is_the_price_paid():
    shop = synthetic_catalogue(0, ("fashion",))
    product = next(p for p in shop.products if p.option_prices)
    (name, value), dollars = max(product.option_prices.items(), key=lambda item: item[1])
    assert product.price_with({name: value}) == dollars >= product.price == product.price_with({})


@pytest.mark.parametrize(
    "a, b, ratio",
    [
        ("machine wash", "machine washable", 86),
        ("soft", "soft cotton", 100),
        ("red", "blue", 29),
        ("", "red", 0),
        ("navy blue", "Blue/Navy", 100),
    ],
)
def test_token_set_ratio(a, b, ratio):
    assert token_set_ratio(a, b) == pytest.approx(ratio, abs=1) == token_set_ratio(b, a)


# --- the embedded catalogue ------------------------------------------------------------------


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
        assert not any(alike(a, b) for a in attributes for b in attributes if a != b)
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


# --- a real product file ---------------------------------------------------------------------


def product(**fields):
    """A product as WebShop's file has it, with what real files have besides."""
    return {
        "asin": "B000000001",
        "name": "Women's Soft Shirt",
        "category": "fashion",
        "query": "women's shirts",
        "product_category": "Clothing › Women › Shirts",
        "small_description": ["Soft cotton", "Machine wash"],
        "full_description": "A shirt.",
        "pricing": "$12.99$15.99",
        "images": ["https://x/y.jpg"],
        "customization_options": {"Color": [{"value": "Red/Blue", "price": 0, "image": None}], "Size": None},
        "Attributes": ["machine wash"],
        "brand": None,
        "average_rating": 4.1,
    } | fields


def write(tmp_path, value, indent=1):
    path = tmp_path / "items.json"
    text = value if isinstance(value, str) else json.dumps(value, indent=indent, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_webshop_product_file_is_read_as_webshop_reads_it(tmp_path):
    path = write(
        tmp_path,
        [
            product(),
            product(name=None),
            product(asin="nan-and-too-long"),
            product(asin="nan", name=None),
            product(asin="B000000002", pricing="", customization_options="", small_description="One"),
            product(asin="B000000003", pricing="$1,299.00", full_description=None, customization_options=None),
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
    lines = "\n".join(json.dumps(product(asin=f"B{i}")) for i in range(3))
    assert len(read_catalogue(write(tmp_path, lines)).products) == 3


def test_instructions_and_attributes_come_from_the_second_file(tmp_path):
    path = write(tmp_path, [product(Attributes=[])])
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
    path = write(tmp_path, [product(asin=f"B{i}", Attributes=[]) for i in range(3)])
    first = make_env("webshop", catalogue=path).shop.products[0]
    assert first.attributes == ("soft cotton", "machine wash")


def test_button_labels_never_clash(tmp_path):
    clash = {"Color": [{"value": "buy now"}, {"value": "red||blue"}], "Size": [{"value": "Buy  NOW"}, {"value": "s"}]}
    path = write(tmp_path, [product(asin="next >", customization_options=clash)])
    env = make_env("webshop", catalogue=path)
    env.step(["search[shirt]"])
    env.step(["click[next >]"])
    labels = [b.label for b in env.page().buttons]
    assert len(set(labels)) == len(labels) and not any("||" in label for label in labels)
    env.step(["click[color: buy now]"])
    assert env.location.chosen == (("color", "buy now"),) and not env.bought


def broken(change):
    good, bad = product(), product(asin="B000000002")
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
    whole = json.dumps([product()], indent=1)
    with pytest.raises(ActFocusError, match="cut off"):
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


# --- the oracle ------------------------------------------------------------------------------


def small_shop(tmp_path, reward):
    """Seven products of three kinds with few option values, three results a page, six turns."""
    records = [r for r in make_records(2, ("fashion",)) if r["query"] in ("shirt", "hat", "dress")][:7]
    for record in records:
        record["customization_options"]["color"] = record["customization_options"]["color"][:2]
    return make_env(
        "webshop", catalogue=write(tmp_path, records), results_per_page=3, max_turns=6, goal_attributes=1, reward=reward
    )


def brute_force(env):
    """Every location and turn by plain recursion over the pages' buttons; and the locations met."""
    searches = [f"search[{query}]" for query in env.queries()]

    @cache
    def targets(at):
        shown = env.page(at)
        return [
            env.follow(at, action) for action in searches * shown.search + [button.action for button in shown.buttons]
        ]

    @cache
    def value(at, turns):
        if at.kind == "done" or not turns:
            return 0.0
        return max(env.payout(env.purchase(to)) if to.kind == "done" else value(to, turns - 1) for to in targets(at))

    met = frontier = {Location()}
    for _ in range(4):
        frontier = {to for at in frontier if at.kind != "done" for to in targets(at)} - met
        met = met | frontier
    return value, met


@pytest.mark.parametrize("reward", ["strict", pytest.param("score", marks=pytest.mark.slow)])
def test_the_solver_equals_brute_force(tmp_path, reward):
    env = small_shop(tmp_path, reward)
    values = set()
    for seed, tight in product_of(range(3), (False, True)):
        env.reset(seed)
        if tight:  # so that an option's own price decides
            cheapest = min(p.price for p in env.shop.products if p.query == env.goal.query and p.option_prices)
            env.goal = replace(env.goal, price_upper=cheapest)
        (value, met), solved = brute_force(env), solve(env)
        for at in met:
            for turns in range(7):
                assert abs(solved.value(at, turns) - value(at, turns)) < 1e-12, (seed, tight, at, turns)
                values.add(round(value(at, turns), 3))
    assert len(values) > (1 if reward == "strict" else 3)


@presets
def test_taking_the_best_action_reaches_the_optimal_value(options):
    env = make_env("webshop", **options)
    for seed in range(15):
        env.reset(seed)
        solved, promised, total = solve(env), solve(env).value(env.location, turns_left(env)), 0.0
        assert promised == 1, "every goal of the embedded catalogue can be met in nine turns"
        while not (env.terminated or env.truncated):
            left = turns_left(env)
            values = {a: solved.action_value(env.location, a, left) for a in env.legal_actions()}
            assert max(values.values()) == solved.value(env.location, left)
            total += env.step([max(values, key=values.get)]).reward
        assert total == promised


@presets
def test_the_best_actions_of_the_fewest_turns_reach_the_goal(options):
    """With no turn to spare, the best action of every turn still leads to the goal."""
    env = make_env("webshop", **options)
    for seed in range(15):
        env.reset(seed)
        solved, start, left = solve(env), env.location, turns_left(env)
        fewest = next(turns for turns in range(left + 1) if solved.value(start, turns) == 1)
        while not env.terminated:
            spare = fewest - env.turn
            env.step([max(env.legal_actions(), key=lambda a: solved.action_value(env.location, a, spare))])
        assert env.success and env.turn == fewest <= 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), choices=picks)
def test_no_action_is_worth_more_than_its_state_and_a_step_keeps_the_books(seed, choices):
    """Q* <= V* for all buttons, also after unlisted searches; a step leads to what Q* promised."""
    env = make_env("webshop", reward="score")
    env.reset(seed)
    for choice in choices:
        solved, at, left = solve(env), env.location, turns_left(env)
        values = [solved.action_value(at, action, left) for action in env.legal_actions()]
        if values:
            assert max(values) == pytest.approx(solved.value(at, left), abs=1e-12)
        _, step = play(env, choice)
        if step.info["actions"]:
            reached = step.reward + (0 if env.terminated else solved.value(env.location, left - 1))
            promised = solved.action_value(at, step.info["actions"][0], left)
            assert reached == pytest.approx(promised, abs=1e-12)
