# SPDX-License-Identifier: GPL-2.0-only
"""The mutants of a module: one small change each."""

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

# One or two replacements for each operator, where cosmic-ray has up to eleven: what notices a
# sum that became a difference notices one that became a power.
CORE = (
    *("AddNot", "ExceptionReplacer", "NumberReplacer", "RemoveDecorator"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *(f"ReplaceUnaryOperator_Delete_{name}" for name in ("Not", "USub", "Invert")),
    *(
        f"ReplaceComparisonOperator_{name}"
        for name in (
            *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
            *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
        )
    ),
    *(
        f"ReplaceBinaryOperator_{name}"
        for name in (
            *("Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Mod_FloorDiv", "Div_Mul"),
            *("BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitAnd", "LShift_RShift", "RShift_LShift"),
        )
    ),
)


class ReplaceInWithNotIn(Operator):
    """`in` and `not in`, each for the other."""

    def mutation_positions(self, node):
        if node.type == "comparison":
            yield from (
                (child.start_pos, child.end_pos)
                for child in node.children[1::2]
                if child.get_code().split() in (["in"], ["not", "in"])
            )

    def mutate(self, node, index):
        places = [
            at
            for at, child in enumerate(node.children)
            if at % 2 and child.get_code().split() in (["in"], ["not", "in"])
        ]
        at = places[index]
        word = "in" if node.children[at].get_code().split() == ["not", "in"] else "not in"
        node.children[at] = parso.python.tree.Keyword(word, node.start_pos, " ")
        return node

    @classmethod
    def examples(cls):
        return ()


class ReplaceNoneWithFalse(Operator):
    """None that is returned, for False: "not known" and "no" are two answers of a step."""

    def mutation_positions(self, node):
        if (
            node.type == "keyword"
            and node.value == "None"
            and node.parent
            and node.parent.type in ("return_stmt", "test", "lambdef")
            and _answers_a_step(node)
        ):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):  # noqa: ARG002 - cosmic-ray's signature
        node.value = "False"
        return node

    @classmethod
    def examples(cls):
        return ()


class DropElement(Operator):
    """An element of a tuple, list, set or dictionary that is written out, or a named argument."""

    def mutation_positions(self, node):
        for part in self._parts(node):
            yield part[0].start_pos, part[-1].end_pos

    def mutate(self, node, index):
        dropped = self._parts(node)[index]
        left = [child for child in node.children if child not in dropped]
        if not left and node.type != "dictorsetmaker":
            # What is left of "(x,)" is "()", and of an import or a call what Python says of it.
            return None
        node.children = left or [parso.python.tree.Name("", node.start_pos)]
        return node

    @staticmethod
    def _parts(node):
        """Return the nodes of each element, with the comma behind it."""
        if node.type not in ("testlist_comp", "dictorsetmaker", "arglist"):
            return []
        parts, part = [], []
        for child in node.children:
            part.append(child)
            if child.type == "operator" and child.value == ",":
                parts.append(part)
                part = []
        if not parts:
            return []  # a comprehension
        if part:
            parts.append(part)
        if node.type == "arglist":
            return [
                p
                for p in parts
                if p[0].type == "argument" and len(p[0].children) == 3 and _is_name(p[0])
            ]
        return parts

    @classmethod
    def examples(cls):
        return ()


def _answers_a_step(node):
    """Whether it is of a function that may not know; elsewhere None and False are as one."""
    while node and node.type != "funcdef":
        node = node.parent
    return bool(node and node.annotation and node.annotation.get_code().strip() == "bool | None")


def _is_name(argument):
    return argument.children[0].type == "name" and argument.children[1].value == "="


OPERATORS = {
    **{name: get_operator(f"core/{name}") for name in CORE},
    **{own.__name__: own for own in (ReplaceInWithNotIn, ReplaceNoneWithFalse, DropElement)},
}


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    path: str
    operator: str
    line: int
    column: int
    source: str
    old: tuple[str, ...]  # the lines that were changed, without the space around
    new: tuple[str, ...]

    @property
    def key(self):
        return self.path, self.old, self.new


def unasked(tree):
    """Yield the spans of what is declared, and done by nothing: annotations, kinds of dataclass."""
    for node in ast.walk(tree):
        found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "dataclass":
            found += [keyword.value for keyword in node.keywords] + node.keywords
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found.append(node.value)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            found.append(node.value)
        for one in found:
            if isinstance(one, ast.AST):
                yield (one.lineno, one.col_offset), (one.end_lineno, one.end_col_offset)


def mutants(path):
    """Yield every mutant of a module."""
    source = Path(path).read_text()
    skipped = list(unasked(ast.parse(source)))
    for name, make in OPERATORS.items():
        operator = make()
        places = [
            position
            for node in ast_nodes(get_ast(source))
            for position in operator.mutation_positions(node)
        ]
        for occurrence, (start, _) in enumerate(places):
            if any(first <= start < last for first, last in skipped):
                continue
            mutated = mutate_code(source, make(), occurrence)
            if mutated is None or mutated == source or not _is_python(mutated):
                continue
            yield Mutant(str(path), name, *start, mutated, *changed(source, mutated))


def _is_python(source):
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def changed(source, mutated):
    """Return the lines that differ, before and after."""
    old, new = [], []
    for line in difflib.unified_diff(source.split("\n"), mutated.split("\n"), n=0, lineterm=""):
        if line.startswith(("---", "+++", "@@")):
            continue
        (old if line[0] == "-" else new).append(line[1:].strip())
    return tuple(old), tuple(new)
