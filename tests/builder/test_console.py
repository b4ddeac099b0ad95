"""The frame of the command line: how it ends when it does not end well."""

import pytest
from cytoimagenet.builder import console


def test_interrupted_commands_say_what_to_do_next(capsys, monkeypatch):
    app = console.application("0")

    @app.command()
    def work() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["cytoimagenet", "work"])
    with pytest.raises(SystemExit) as ended:
        console.run(app)
    assert ended.value.code == 130
    said = capsys.readouterr().err
    assert "the same command can be run again" in " ".join(said.split())
    assert "Traceback" not in said
