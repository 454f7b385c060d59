"""A candidate or a run in other forms: a file a target, which says what it takes."""


def summaries() -> dict[str, str]:
    """Every target by name, and what it writes in a few words: the docstring of its class. Nothing
    is imported; of others' targets there are names alone.
    """
    import ast
    from importlib.resources import files

    from evoml.core.registry import installed, own

    out = dict.fromkeys(installed("export"), "")
    for name in own("export"):
        tree = ast.parse((files(__name__) / f"{name}.py").read_text(encoding="utf-8"))
        targets = (
            each
            for each in tree.body
            if isinstance(each, ast.ClassDef)
            and any(isinstance(base, ast.Name) and "Target" in base.id for base in each.bases)
        )
        said = " ".join((ast.get_docstring(next(targets)) or "").split()).rstrip(".")
        out[name] = said[:1].lower() + said[1:] if said[1:2].islower() or said[1:2] == " " else said
    return dict(sorted(out.items()))
