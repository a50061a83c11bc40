"""The espeak-ng process: reads one job (JSON) on stdin, writes a JSON line and 16-bit samples on stdout.

espeak-ng does not repeat itself inside one process: every utterance gets a fresh one. The file is run by its path
and imports the standard library alone, so that a start costs some 20 ms.

Job: `library`, `data` (paths), `voice`, `rate` (words per minute), `pitch`, `range`,
`sentences` [[text, pause s], ...], `seconds` (stop once that much is spoken).
Answer: `rate`, `samples`, `events` [[seconds, IPA or null], ...] (null is silence), `spoken` (how many sentences).
A refused voice or text ends with 1 and a line on stderr.
"""

import array
import contextlib
import ctypes
import json
import sys

_RETRIEVAL_SYNCHRONOUS = 2
_PHONEME_EVENTS_IPA = 0x0003
_DONT_EXIT = 0x8000
_EVENT_END, _EVENT_PHONEME = 0, 7
_UTF8 = 1
_PARAMETER = {"rate": 1, "pitch": 3, "range": 4}


def main() -> int:
    job = json.loads(sys.stdin.buffer.readline())
    try:
        answer, samples = _speak(job)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.write(samples.tobytes())
    sys.stdout.buffer.flush()
    return 0


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _speak(job: dict) -> tuple[dict, array.array]:
    library = ctypes.CDLL(job["library"])
    rate = library.espeak_Initialize(_RETRIEVAL_SYNCHRONOUS, 0, job["data"].encode(), _PHONEME_EVENTS_IPA | _DONT_EXIT)
    if rate <= 0:
        raise RuntimeError(f"espeak-ng did not start with the data folder {job['data']}")
    if library.espeak_SetVoiceByName(job["voice"].encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice {job['voice']}")
    for name, number in _PARAMETER.items():
        library.espeak_SetParameter(number, int(job[name]), 0)

    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # espeak-ng starts with the clock as its seed
    samples, events, spoken = array.array("h"), [], 0
    for text, pause in job["sentences"]:
        part, part_events = _sentence(library, text)
        start = len(samples) / rate
        events += [[start + at / 1000, name] for at, name in part_events]
        samples += part
        events.append([len(samples) / rate, None])
        samples.frombytes(bytes(2 * int(pause * rate)))
        spoken += 1
        if len(samples) >= job["seconds"] * rate:
            break
    return {"rate": rate, "samples": len(samples), "events": events, "spoken": spoken}, samples


def _sentence(library: ctypes.CDLL, text: str) -> tuple[array.array, list[tuple[int, str]]]:
    samples, events = array.array("h"), []

    def receive(wave: "ctypes._Pointer[ctypes.c_short]", count: int, event: "ctypes._Pointer[_Event]") -> int:
        if wave and count > 0:
            samples.frombytes(ctypes.string_at(wave, 2 * count))
        index = 0
        while event[index].type != _EVENT_END:
            if event[index].type == _EVENT_PHONEME:
                raw = bytes(event[index].id)[:8].split(b"\0")[0]
                events.append((event[index].audio_position, raw.decode("utf-8", "ignore")))
            index += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode() + b"\0"
    failed = library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    if failed:
        raise RuntimeError(f"espeak-ng could not speak {text!r}")
    return samples, events


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
