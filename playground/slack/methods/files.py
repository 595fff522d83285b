from __future__ import annotations

import mimetypes
from dataclasses import replace
from typing import Any

from playground.slack.answers import file_json
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.methods.chat import checked_blocks, thread_of
from playground.slack.records import File, Message

Json = dict[str, Any]


async def _get_upload_url(call: Call) -> Json:
    name = call.needed("filename")
    if call.number("length", 0) <= 0:
        raise ApiError("invalid_arguments", "[ERROR] must be more than 0: length")
    file = File(
        id=call.world.new_id("F"),
        name=name,
        title=name,
        user=call.token.user,
        created=int(call.world.clock()),
        mimetype=mimetypes.guess_type(name)[0] or "application/octet-stream",
        alt_text=call.text("alt_txt"),
    )
    call.world.put_file(file)
    url = f"{call.workspace.base_url}/upload/v1/{file.id}?length={call.number('length', 0)}"
    return {"upload_url": url, "file_id": file.id}


async def _complete_upload(call: Call) -> Json:
    named = call.array("files", dict)
    if not named:
        raise ApiError("invalid_arguments", "[ERROR] missing required field: files")
    channels = [call.text("channel_id")] if call.text("channel_id") else []
    channels += [each for each in call.text("channels").split(",") if each]
    targets = [_target(call, each) for each in dict.fromkeys(channels)]
    blocks = checked_blocks(call.json("blocks", wrong="invalid_blocks_format")) or ()
    files = [_shared(call, each) for each in named]
    for channel, thread_ts in targets:
        call.workspace.post(
            Message(
                channel=channel,
                ts=call.world.new_ts(),
                user=call.token.user,
                text=call.text("initial_comment"),
                blocks=blocks,
                thread_ts=thread_ts,
                bot_id=call.world.app.bot_id if call.token.kind == "bot" else "",
                app_id=call.world.app.id if call.token.kind == "bot" else "",
                files=tuple(each.id for each in files),
            )
        )
    return {"files": [file_json(call.world, each) for each in files]}


def _target(call: Call, name: str) -> tuple[str, str]:
    of_channel = replace(call, args={**call.args, "channel": name})
    channel = of_channel.channel()
    if call.token.user not in channel.members:
        raise ApiError("not_in_channel")
    return channel.id, thread_of(call, channel)


def _shared(call: Call, named: Json) -> File:
    file = call.world.files.get(str(named.get("id", "")))
    if file is None or not file.uploaded or file.shared or file.user != call.token.user:
        raise ApiError("file_not_found")
    return call.world.put_file(replace(file, shared=True, title=named.get("title") or file.name))


_WRITE = ("files:write",)
METHODS = (
    Method(name="files.getUploadURLExternal", answer=_get_upload_url, scopes=_WRITE),
    Method(name="files.completeUploadExternal", answer=_complete_upload, scopes=_WRITE),
)
