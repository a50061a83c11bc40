"""Saying that a video was edited: to machines by a tag, Content Credentials and a watermark, to people by a label.

`Marks` says which; `marking.Marking` puts them on a result; `verify.verify` reads them.
"""

from .options import Marks

__all__ = ["Marks"]
