"""pydantic: models with Decimal, validated straight from the bytes."""

from __future__ import annotations

import functools
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from contest import python_test
from execwire import reference, venues
from execwire.bench import Contender, Runner, leaf_types, shapes

if TYPE_CHECKING:
    from execwire.bench import Shape
    from execwire.workload import Workload


def _prepare(messages: Workload) -> Runner:
    import pydantic

    type_of = leaf_types(messages, Decimal)

    def model(shape: Shape, **literals: Any) -> Any:
        members: dict[str, Any] = {}
        for number, key in enumerate(shape.leaves):
            kind = literals[key] if key in literals else type_of(shape, key) | None
            default = ... if key in literals else None
            name = key if key in literals else f"field_{number}"
            members[name] = (kind, pydantic.Field(default, alias=key))
        for number, (key, inner) in enumerate(shape.objects.items()):
            members[f"object_{number}"] = (model(inner), pydantic.Field(..., alias=key))
        for number, (key, inner) in enumerate(shape.arrays.items()):
            members[f"array_{number}"] = (list[model(inner)], pydantic.Field(..., alias=key))
        return pydantic.create_model(shape.name, **members)

    found = shapes(messages)
    if len(found) == 1:
        (shape,) = found.values()
        wanted = model(shape)
    else:
        models = [model(shape, e=Literal[name]) for name, shape in found.items()]
        wanted = Annotated[functools.reduce(lambda a, b: Union[a, b], models), pydantic.Field(discriminator="e")]  # noqa: UP007
    adapter = pydantic.TypeAdapter(wanted)
    venue = venues.load(messages.venue)

    def told(result: Any) -> list[dict[str, Any]]:
        return reference.decode(venue, adapter.dump_json(result, by_alias=True, exclude_none=True))

    return Runner(adapter.validate_json, told)


test_python = python_test(Contender("pydantic, Decimal", "pydantic", _prepare))
