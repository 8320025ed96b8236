"""Text files as editors, spreadsheets and shells of any system write them."""

import codecs


def decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where it begins with the mark of that.

    Raises:
        UnicodeDecodeError: It is in neither.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig").replace("\r\n", "\n")
