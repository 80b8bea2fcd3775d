import AutonCommand

let manual = """
    A program that was started with --model file:DIR asks by writing CONVERSATION.TURN.request.json into DIR and \
    waits for CONVERSATION.TURN.response.json. This is the other side: read what is new, put a reply together out of \
    plain files, file it, wait for the next request. Several people can answer different conversations of one desk at \
    the same time.

    INPUT: the requests in the desk directory (--desk); replies that are being put together are \
    kept in its .staged/. OUTPUT: requests as text; `list --json` prints one JSON object a line. What is new is the \
    whole request on a conversation's first turn (system prompt, tools, task), later only what came since your last \
    reply: each call's result under the call's number, then notes. `show --all` prints everything again.

    CALLS: `call CONVERSATION TOOL [ARG…]`. An ARG is NAME=VALUE, or just VALUE: values without a name fill the \
    inputs in the order in which `show` prints them after the tool's name: required before optional; among these what \
    names a thing (path, pattern, verdict), numbers and choices, other text and lists of it, switches, old before new, long \
    text (content, script, summary), lists of objects; otherwise by name. VALUE is @FILE for what is in a file, - for standard input, @@… for \
    text that begins with @. If one required text is left over and something is redirected or piped in, it takes that. \
    Lists are a,b,c or JSON; lists of objects are JSON. Options of this program go before CONVERSATION or are told \
    from values by `--`. A call that does not fit the tool's schema is refused at once and not staged.

    TWO TURNS:

      $ auton-answer wait                        # shows the task of, say, boot-002.1
      $ auton-answer call boot-002.1 list
      $ auton-answer call boot-002.1 read include/boot.h
      $ auton-answer send boot-002.1 --text "I look around first."
      filed boot-002.1 turn 1: text, 2 calls, about 58 tokens
      ══ boot-002.1, turn 2 (asked 0 s ago; at most 16000 tokens a reply)
      ── 1 list
      include/boot.h  412
      ── 2 read include/boot.h
      1  #pragma once
      …

      $ auton-answer call boot-002.1 write boot/entry.asm < entry.asm
      $ auton-answer call boot-002.1 edit include/boot.h old=@a new=@b
      $ echo 'make 2>&1 | tail' | auton-answer call boot-002.1 shell
      $ auton-answer staged boot-002.1
      $ auton-answer send boot-002.1 --wait 300     # files it and shows turn 3

    A reply over the request's max_tokens (four bytes are taken for a token) is refused. `send` returns when the next \
    request comes, or when the program says that the conversation is over. If nothing came in time (its tools are still at \
    work), `send` and `wait` say so and exit 75; a later `wait CONVERSATION` goes on.

    \(exitStatusHelp)
    """
