let manual = """
    Prints its URL when it listens. OUTPUT: POST /v1/messages, streamed or not, and /v1/messages/count_tokens. What the API would refuse is \
    refused: a tool call without its result in the next message, a thinking block that was not handed out, more than four cache breakpoints, … \
    Tokens are a fourth of the prompt's bytes; the prompt cache is kept as the API keeps it. It ends when a pipe on its standard input \
    closes.

    A request is answered by the script's next step; where there is none left, or it has no answer of its own, by the recording, by the \
    no-op turns, or with the text “done”. A recorded conversation is found by its first message: the same, or one that says the same \
    “Task: …, attempt …”.

    STEPS: a script is a JSON array of objects with any of these:

      for         text that the conversation's first message must have; others pass the step over
      repeat      so many requests take the step (1); 0: all that come
      response    {"content":[…]}, and if wanted stop_reason, id, model, usage; a tool_use with "input_text" in place of \
    "input" streams that text, JSON or not
      text_bytes  answer with a text of so many bytes; max_tokens bounds what is billed, not the text
      status      answer with this error instead; "error" {"type","message"} and "headers" {…} go with it
      raw         answer with this text as it is, its "content_type" and "status" (200)
      headers     further headers of the reply
      delay       milliseconds before the reply
      pace        milliseconds between events
      chunk       bytes of body a write and an HTTP chunk
      extra       raw event-stream text before every event: comments, pings, unknown events
      fault       reset (RST), cut (closed in the middle), end (ends as HTTP should, before message_stop), stall (nothing more comes), \
    stall-pings (only pings come), error-event ("error", overloaded if left out, then the end), refuse (closed without a reply)
      after       events sent before the fault, bytes of a body that is not streamed; half of them if left out

      [{"status":429,"headers":{"retry-after":"1"}}, {"fault":"cut","after":3}, {"text_bytes":5000000,"chunk":1,"repeat":0}]

    LOG: sequence, connection, arrived_ms and ended_ms since the start, method, path, headers (of the key only whether it was right), \
    body_bytes, body_digest, conversation, turn, step, status, error, usage, billed (a message was begun), total_usd (billed so far), and ended: answered, \
    a fault, or gone if the client hung up. A request's line is there before the last byte of its reply is.
    """
