"""Arithmetic without eval: the expression is parsed, and only numbers and + - * / // % ** survive."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

LENGTH_LIMIT = 200  # characters
EXPONENT_LIMIT = 1000

_BINARY: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Decimal], Decimal]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def calculate(expression: str) -> Decimal:
    """The value of the expression. ValueError, with what to change, when it is no arithmetic or too large."""
    if len(expression) > LENGTH_LIMIT:
        raise ValueError(f"The expression is longer than {LENGTH_LIMIT} characters.")
    try:
        tree = ast.parse(expression.replace("^", "**").replace("×", "*").replace("÷", "/"), mode="eval")
        with localcontext(prec=28):
            return _value(tree.body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{expression!r} is no arithmetic. Use numbers, + - * / ** and brackets.") from error
    except (DivisionByZero, InvalidOperation, Overflow) as error:
        raise ValueError(f"{expression!r} has no value (a division by zero, or too large).") from error


def _value(node: ast.expr) -> Decimal:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Decimal(str(number))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second = _value(left), _value(right)
            if isinstance(op, ast.Pow) and abs(second) > EXPONENT_LIMIT:
                raise ValueError(f"An exponent above {EXPONENT_LIMIT} is too large.")
            return _BINARY[type(op)](first, second)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
    raise ValueError("Only numbers, + - * / // % ** and brackets are understood.")
