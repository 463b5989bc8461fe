"""HackMD's ==marks== for markdown-it-py, by the rules of markdown-it-mark, so that both pages mark the same words."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

SIGN, WIDTH = "=", 2


def add_marks(made: "MarkdownIt") -> None:
    """Let a renderer read ==words== as marked words.

    A sign between a punctuation mark and a letter can begin or end a mark, but not both, as with * and **. So in
    Chinese ==words.==words marks nothing, and ==words==.words does.
    """
    made.inline.ruler.before("emphasis", "mark", read)
    made.inline.ruler2.before("emphasis", "mark", pair)


def read(state: Any, silent: bool) -> bool:
    """Turn equals signs into words; two of them may begin or end a mark."""
    from markdown_it.rules_inline.state_inline import Delimiter

    if silent or state.src[state.pos] != SIGN:
        return False
    found = state.scanDelims(state.pos, True)
    token = state.push("text", "", 0)
    token.content = SIGN * found.length
    if found.length == WIDTH:
        sides = {"open": found.can_open, "close": found.can_close}
        state.delimiters.append(Delimiter(marker=ord(SIGN), length=0, token=len(state.tokens) - 1, end=-1, **sides))
    state.pos += found.length
    return True


def pair(state: Any) -> None:
    """Turn the words that were paired into tags."""
    for delimiters in (state.delimiters, *(meta["delimiters"] for meta in state.tokens_meta if meta)):
        for begin in delimiters:
            if begin.marker == ord(SIGN) and begin.end >= 0:
                for place, kind, nesting in ((begin.token, "open", 1), (delimiters[begin.end].token, "close", -1)):
                    token = state.tokens[place]
                    token.type, token.tag, token.nesting, token.content = f"mark_{kind}", "mark", nesting, ""
