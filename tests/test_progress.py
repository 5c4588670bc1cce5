"""What is said on stderr while work goes on."""

from palprobe.cli.progress import Watching


def test_names_between_colons_stay_names(capsys):
    """`:speaker:` and `[bold]` are printed as they are, not as a picture or a style."""
    with Watching() as watcher:
        watcher.stage("extract fsdd:speaker")
        watcher.end("[bold]x[/bold]")
    assert capsys.readouterr().err.startswith("extract fsdd:speaker: [bold]x[/bold] (")
