"""What both programs are made of: calls that say their name, refusals, waiting, parts.

A part is a function that gets a bench and calls one resource's every call. Parts do not depend on
each other, so that one that fails says nothing about the others, and each can be run alone.
"""

import argparse
import contextlib
import os
import secrets
import sys
import time
import traceback
import types

# Id of nothing.
NOBODY = "00000000-dead-4ead-8ead-000000000000"
with open(os.path.join(os.path.dirname(__file__), "../tests/data/id_ed25519.pub")) as _file:
    PUBLIC_KEY = _file.read().strip()
# Seconds that a server may need for what takes one or two on an idle machine.
OPERATION = 180
# Names of all calls so far, as they were printed.
CALLED = set()


class Told:
    """An object of a client library whose calls are printed by name, never with arguments."""

    def __init__(self, name, thing):
        self._name = name
        self._thing = thing

    def __getattr__(self, attribute):
        value = getattr(self._thing, attribute)
        if not callable(value):
            return value
        name = f"{self._name}.{attribute}"

        def call(*args, **kwargs):
            print(f"  {name}", flush=True)
            CALLED.add(name)
            answer = value(*args, **kwargs)
            # A generator asks the service only when it is read.
            return list(answer) if isinstance(answer, types.GeneratorType) else answer

        call.__name__ = name
        return call


def status_of(error):
    """HTTP status in an error of openstacksdk, keystoneauth or novaclient."""
    for attribute in ("status_code", "http_status", "code"):
        status = getattr(error, attribute, None)
        if isinstance(status, int):
            return status
    return None


def refused(status, call, /, *args, **kwargs):
    """Wants `call` to be answered with `status` and returns what the error says."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        if status_of(error) is None:
            raise
        assert status_of(error) == status, f"{call.__name__}: {error} instead of {status}"
        return str(error)
    raise AssertionError(f"{call.__name__} was not refused with {status}")


def equal(what, found, wanted):
    """Wants two values to be the same and names them if they are not."""
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def contains(what, found, wanted):
    """Wants a collection or text to contain something."""
    assert wanted in found, f"{what}: no {wanted!r} in {found!r}"


def lacks(what, found, unwanted):
    """Wants a collection or text not to contain something."""
    assert unwanted not in found, f"{what}: {unwanted!r} in {found!r}"


def has(what, found, names):
    """Wants an answer to have all these members, whatever their values."""
    missing = [name for name in names if name not in found]
    assert not missing, f"{what}: no {missing} in {sorted(found)}"


def ids(things):
    """Ids of a list's members, in its order."""
    return [thing.id for thing in things]


def until(what, condition, seconds=OPERATION):
    """Waits until `condition` is true and returns it."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come in {seconds} s"
        time.sleep(0.2)


def unique(prefix):
    """A name that nothing else has."""
    return f"{prefix}-{secrets.token_hex(4)}"


class Parts:
    """Runs parts one after the other and collects what failed."""

    def __init__(self, doc):
        self.failed = []
        parser = argparse.ArgumentParser(description=doc.splitlines()[0])
        parser.add_argument("--image", required=True, help="image to boot from")
        parser.add_argument("--rescue-image", required=True, help="image to rescue with")
        parser.add_argument("--booted", required=True, help="what a booted guest's console says")
        parser.add_argument("--list", action="store_true", help="say which parts there are")
        parser.add_argument("parts", nargs="*", help="parts to run instead of all")
        self.arguments = parser.parse_args()
        # Both programs must be told where to go; there is no cloud that they take by themselves.
        for variable in ("OS_CLIENT_CONFIG_FILE", "OS_CLOUD"):
            if variable not in os.environ:
                parser.error(f"{variable} is not set")

    def run(self, parts, bench):
        """Runs those parts that are wanted; each removes what it made."""
        names = {f"{part.__module__.split('_')[-1]}.{part.__name__}": part for part in parts}
        wanted = self.arguments.parts or list(names)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            sys.exit(f"no such part: {', '.join(unknown)}")
        if self.arguments.list:
            sys.exit("\n".join(names))
        for name in wanted:
            print(f"{name}: {names[name].__doc__}", flush=True)
            begun = time.monotonic()
            self.attempt(name, names[name], bench)
            print(f"  {time.monotonic() - begun:.1f} s", flush=True)

    def attempt(self, name, part, *args):
        """Runs one part; what it left is removed even if it failed, and that may fail too."""
        with contextlib.ExitStack() as later:
            for bench in args:
                bench.later = later.callback
            try:
                part(*args)
            # Everything, because the parts after this one are still worth running.
            except Exception as error:
                self.fail(name, error)
            try:
                later.close()
            except Exception as error:
                self.fail(f"{name} (cleaning up)", error)

    def fail(self, name, error):
        traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)
        here = os.path.dirname(__file__)
        own = [frame for frame in where if os.path.dirname(frame.filename) == here]
        part = [frame for frame in own if not frame.filename.endswith("told.py")] or own
        line = f"{os.path.basename(part[-1].filename)}:{part[-1].lineno}" if part else "?"
        said = " ".join(f"{type(error).__name__}: {error}".split())
        self.failed.append(f"{name}: {line}: {said}")

    def end(self, library, uncalled):
        """Says how it went and ends the program."""
        # After a failure they would only be those that the failed part did not come to.
        if not self.arguments.parts and not self.failed:
            self.failed += [f"{name}: never called, and not left out" for name in uncalled]
        if self.failed:
            print("\nFAILED", *self.failed, sep="\n  ", flush=True)
            sys.exit(1)
        print(f"\n{len(CALLED)} calls of {library} answered as they should", flush=True)


def uncalled(prefix, thing, base, left_out):
    """Public calls of a class that were neither called nor left out for a reason.

    `left_out` maps what names contain to the reason; the calls of the classes `base` do not count.
    """
    # `list` is named in a base class of novaclient, and done in those derived from it.
    inherited = {name for parent in base for name in dir(parent)} - {"list"}
    return [
        f"{prefix}.{name}"
        for name in dir(thing)
        if not name.startswith("_")
        and name not in inherited
        and callable(getattr(thing, name))
        and f"{prefix}.{name}" not in CALLED
        and not any(text in f"{prefix}.{name}" for text in left_out)
    ]
