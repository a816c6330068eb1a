"""Code of the user's, by where it is: `file.py:name` or `package.module:name`.

An object that was given in Python gets such a name, too, so that a run can say what it searched.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from raysweep.core.errors import UserError, nearest
from raysweep.core.sources import Sent, Source, file_below, imported_names, is_installed

__all__ = [
    "is_object",
    "is_target",
    "load_target",
    "name_object",
    "own_frames",
    "send_along",
    "sent",
    "source_hash",
    "user_modules",
]

# Objects that were given in Python, by the name that `name_object` gave them.
_OBJECTS: dict[str, Any] = {}
_NOWHERE = "<python>"


def is_target(text: str) -> bool:
    """Whether a word names code of the user's, and nothing that is built in."""
    return ":" in text


def is_object(target: str) -> bool:
    """Whether a target was given as an object in Python: no other process finds it by its name."""
    return target in _OBJECTS


def load_target(text: str) -> Any:
    """What a target names.

    A file is imported as a script would be: modules beside it can be imported, too.

    Args:
        text: `file.py:name` or `package.module:name`.

    Raises:
        UserError: no such file, module or name; or the import fails, with the end of its traceback.
    """
    if text in _OBJECTS:
        return _OBJECTS[text]
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise UserError(f"'{text}' is not FILE.py:NAME or PACKAGE.MODULE:NAME")
    if where == _NOWHERE:
        raise UserError(
            f"'{name}' was given to raysweep as an object in Python and can be had only there; "
            "call `raysweep.tune` with it again, or keep it in a file and name it FILE.py:NAME"
        )
    is_file = where.endswith(".py")
    if is_file and not Path(where).is_file():
        raise UserError(
            f"there is no file {where} (of '{text}'); paths are relative to {Path.cwd()}"
        )
    try:
        module = _import_file(Path(where)) if is_file else importlib.import_module(where)
    except UserError:
        raise
    except Exception as error:
        if (
            not is_file
            and isinstance(error, ModuleNotFoundError)
            and where.startswith(error.name or "?")
        ):
            raise UserError(f"there is no module {where} (of '{text}'); is it installed?") from None
        raise UserError(f"{where} cannot be imported:\n{own_frames(error)}") from None
    if not hasattr(module, name):
        names = [
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        ]
        raise UserError(f"{where} has no '{name}'{nearest(name, names)}")
    return getattr(module, name)


def name_object(code: Any, name: str | None = None) -> str:
    """A target for code that was given as an object in Python; `load_target` returns that object.

    Where other processes find the code under that name, too, it is `package.module:name`, or
    `file.py:name` for the script that runs.

    Args:
        code: a function, a class, or anything else.
        name: of what has none of its own.
    """
    if name is not None:
        target = f"{_NOWHERE}:{name}"
        _OBJECTS[target] = code
        return target
    name = getattr(code, "__qualname__", None) or type(_code_of(code)).__qualname__
    module = sys.modules.get(getattr(code, "__module__", None) or "")
    where = _NOWHERE
    if module is not None and getattr(module, name, None) is code:
        file = getattr(module, "__file__", None)
        if module.__name__ != "__main__":
            return f"{module.__name__}:{name}"
        if file and Path(file).suffix == ".py":
            path = Path(file).resolve()
            here = Path.cwd()
            where = str(path.relative_to(here) if path.is_relative_to(here) else path)
    target = f"{where}:{getattr(code, '__name__', name)}"
    _OBJECTS[target] = code
    return target


def _code_of(code: Any) -> Any:
    """The user's own function or class inside of what `functools` and Ray wrap around it."""
    while True:
        if isinstance(code, functools.partial):
            code = code.func
        elif inspect.isclass(code) and code.__module__.startswith("ray.") and len(code.__mro__) > 2:
            code = code.__mro__[1]
        elif inspect.isfunction(code) and code.__module__.startswith("ray."):
            inner = inspect.getclosurevars(code).nonlocals.get("trainable")
            if inner is None:
                return code
            code = inner
        else:
            return code


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = path.stem
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == str(path):
            return known
        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def own_frames(error: Exception) -> str:
    """The traceback from the first frame on that is neither ours nor Python's import system's."""
    frames = traceback.extract_tb(error.__traceback__)
    hidden = (str(Path(__file__)), str(importlib.__file__))
    kept = [f for f in frames if f.filename not in hidden and not f.filename.startswith("<frozen")]
    lines = [*traceback.format_list(kept), *traceback.format_exception_only(error)]
    return "".join(lines).rstrip()


def user_modules(target: str) -> list[ModuleType]:
    """The loaded modules that a target's code consists of, and that no package installed.

    Args:
        target: one that was loaded.

    Returns:
        The module that it names, and those below its folder, of a notebook below the working
        directory; none for installed packages.
    """
    module = _module_of(target)
    root = _root(module)
    if root is None:
        return []
    modules: dict[str, ModuleType] = {}  # one may be known by two names
    for each in list(sys.modules.values()):
        path = getattr(each, "__file__", None)
        if not path or is_installed(Path(path)):
            continue
        if Path(path).is_relative_to(root) and each.__name__.partition(".")[0] != "raysweep":
            modules[each.__name__] = each
    return [modules[name] for name in sorted(modules)]


def _module_of(target: str) -> ModuleType | None:
    return sys.modules.get(getattr(_code_of(load_target(target)), "__module__", None) or "")


def _root(module: ModuleType | None) -> Path | None:
    """The folder of the user's modules; None where the code is not the user's."""
    if module is None:
        return None
    file = getattr(module, "__file__", None)
    if file is None:
        return Path.cwd() if module.__name__ == "__main__" else None
    if is_installed(Path(file)):
        return None
    package = module.__name__.partition(".")[0] if "." in module.__name__ else ""
    if package and (top := getattr(sys.modules.get(package), "__file__", None)):
        return Path(top).parent
    return Path(file).parent


def source_hash(*targets: str) -> str:
    """A hash of the source that these targets consist of; empty where no file of the user's does.

    That is the modules that they name and, of the user's modules, those that these import. Of an
    object that was given in Python it is its own source, too: a notebook has no file.
    """
    digest = hashlib.sha256()
    used: dict[str, Path] = {}
    for target in targets:
        known = _user_files(target)
        waiting = [getattr(_code_of(load_target(target)), "__module__", "")]
        while waiting:
            name = waiting.pop()
            if name in known and name not in used:
                used[name] = known[name]
                waiting += imported_names(name, known[name])
    # A script has the same hash where it runs and where another process imports it.
    files = {(path.stem if name == "__main__" else name): path for name, path in used.items()}
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes())
    nameless = [target for target in targets if target.startswith(f"{_NOWHERE}:")]
    own = [_source(_code_of(load_target(target))) for target in nameless]
    for source in own:
        digest.update(source)
    return digest.hexdigest()[:16] if used or any(own) else ""


def _source(code: Any) -> bytes:
    """The source of a function or a class; what it was compiled to where nobody has the source."""
    try:
        return inspect.getsource(code).encode()
    except (OSError, TypeError):
        compiled = getattr(code, "__code__", None)
        return b"" if compiled is None else compiled.co_code + repr(compiled.co_consts).encode()


def _user_files(target: str) -> dict[str, Path]:
    """The files of the `user_modules` and of what these import from beside them, by full names.

    A module that is imported inside of a function may not be loaded yet.
    """
    files = {each.__name__: Path(str(each.__file__)) for each in user_modules(target)}
    module = _module_of(target)
    root = _root(module)
    if module is None or root is None:
        return {}
    waiting = list(files)
    while waiting:
        name = waiting.pop()
        for imported in imported_names(name, files[name]):
            if imported not in files and (path := file_below(root, imported)):
                files[imported] = path
                waiting.append(imported)
    return files


def send_along(cloudpickle: Any, target: str) -> None:
    """Has cloudpickle write the user's code in such a way that readers need no file of the user's.

    That is by value, unless the user's modules import each other inside of functions. In both cases
    `sent` has to wrap what is sent.

    Args:
        cloudpickle: the module; Ray has one of its own.
        target: one of the user's; others need nothing.
    """
    if not is_target(target):
        return
    files = _user_files(target)
    imports = any(
        imported in files
        for name, file in files.items()
        for imported in imported_names(name, file, late=True)
    )
    registered = cloudpickle.list_registry_pickle_by_value()
    for module in user_modules(target):
        if module.__name__ == "__main__":  # which is sent by value anyway
            continue
        if not imports:
            cloudpickle.register_pickle_by_value(module)
        elif module.__name__ in registered:  # by an earlier search of this process
            cloudpickle.unregister_pickle_by_value(module)


def sent(code: Any, target: str) -> Any:
    """Code of a target as other processes are to get it, with the sources of the user's modules.

    Args:
        code: the function or class, or something that holds it.
        target: its name; what is built in is returned as it is.
    """
    if not is_target(target):
        return code
    files = _user_files(target)
    files.pop("__main__", None)
    sources = {
        name: Source(str(file), file.read_bytes(), file.name == "__init__.py")
        for name, file in files.items()
        if file.suffix == ".py"
    }
    for name in list(sources):
        while name := name.rpartition(".")[0]:  # a folder without `__init__.py`
            sources.setdefault(name, Source(name, b"", True))
    return Sent(code, sources)
