"""``lockgate completion``: teaches a shell the commands, flags and choices that the table of options knows. Pure.

The scripts are static: completing a word starts no Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lockgate.runner.invocation.help_texts import DESCRIPTIONS
from lockgate.runner.invocation.option import Option
from lockgate.runner.invocation.options import OPTIONS as ALL

__all__ = ["SHELLS", "completion_script"]

OPTIONS = tuple(option for option in ALL if not option.positional)
"""No shell can know the revisions of a project without starting it."""


def completion_script(shell: str) -> str:
    """Return the script for one of `SHELLS`; how to load it is its first line."""
    return _SCRIPTS[shell]()


def _options(command: str) -> list[Option]:
    return [option for option in OPTIONS if command in option.commands]


def _summary(option: Option) -> str:
    return option.help.partition(";")[0]


def _bash() -> str:
    files = "|".join(option.flag for option in OPTIONS if option.metavar == "FILE")
    free = [option for option in OPTIONS if not (option.switch or option.choices or option.metavar == "FILE")]
    values = [f"    {option.flag}) {_bash_words(option.choices)}; return ;;" for option in OPTIONS if option.choices]
    values += [
        f"    {files}) compopt -o default 2>/dev/null; return ;;",
        f"    {'|'.join(option.flag for option in free)}) return ;;",
        f"    completion) {_bash_words(SHELLS)}; return ;;",
    ]
    flags = [
        f"    {command}) {_bash_words([*(option.flag for option in _options(command)), '--help'])} ;;"
        for command in DESCRIPTIONS
    ]
    return "\n".join(
        (
            "# In ~/.bashrc: source <(lockgate completion bash)",
            "_lockgate() {",
            "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
            "  COMPREPLY=()",
            "  if [[ $word == = ]]; then word=",
            "  elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi",
            f"  if ((COMP_CWORD == 1)); then {_bash_words([*DESCRIPTIONS, '--help', '--version'])}; return; fi",
            "  case $before in",
            *values,
            "  esac",
            "  case ${COMP_WORDS[1]} in",
            *flags,
            "  esac",
            "}",
            "complete -F _lockgate lockgate",
            "",
        )
    )


def _bash_words(words: Iterable[str]) -> str:
    return f'COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word"))'


def _zsh() -> str:
    commands = [f"    {_quoted(f'{name}:{summary}')}" for name, (summary, _) in DESCRIPTIONS.items()]
    cases = []
    for command in DESCRIPTIONS:
        specs = [_zsh_option(option) for option in _options(command)]
        specs += ["':shell:(" + " ".join(SHELLS) + ")'"] if command == "completion" else []
        cases.append(f"    {command}) _arguments {' '.join(specs)} '--help[show help]' ;;")
    return "\n".join(
        (
            "#compdef lockgate",
            "# In ~/.zshrc, after compinit: source <(lockgate completion zsh)",
            "_lockgate() {",
            "  local -a commands",
            "  commands=(",
            *commands,
            "  )",
            "  if ((CURRENT == 2)); then _describe command commands; return; fi",
            "  shift words",
            "  ((CURRENT--))",
            "  case $words[1] in",
            *cases,
            "  esac",
            "}",
            'if [[ $funcstack[1] == _lockgate ]]; then _lockgate "$@"; else compdef _lockgate lockgate; fi',
            "",
        )
    )


def _zsh_option(option: Option) -> str:
    text = _summary(option)
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    if option.switch:
        return _quoted(f"{option.flag}[{text}]")
    what = "_files" if option.metavar == "FILE" else f"({' '.join(option.choices)})" if option.choices else " "
    return _quoted(f"{option.flag}=[{text}]:{option.metavar}:{what}")


def _fish() -> str:
    lines = ["# In ~/.config/fish/config.fish: lockgate completion fish | source", "complete -c lockgate -f"]
    for name, (summary, _) in DESCRIPTIONS.items():
        lines.append(f"complete -c lockgate -n __fish_use_subcommand -a {name} -d {_quoted(summary)}")
    for option in OPTIONS:
        value = "" if option.switch else " -r -F" if option.metavar == "FILE" else " -x"
        if option.choices:
            value += f" -a {_quoted(' '.join(option.choices))}"
        seen = _quoted(f"__fish_seen_subcommand_from {' '.join(option.commands)}")
        lines.append(f"complete -c lockgate -n {seen} -l {option.name} -d {_quoted(_summary(option))}{value}")
    lines.append(f"complete -c lockgate -n '__fish_seen_subcommand_from completion' -a {_quoted(' '.join(SHELLS))}")
    lines.append("complete -c lockgate -l help -d 'show help'")
    return "\n".join((*lines, ""))


def _quoted(text: str) -> str:
    """Quote for zsh and fish, which both take two quoted texts with a quote between them as one word."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


_SCRIPTS: Mapping[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
SHELLS = tuple(_SCRIPTS)
