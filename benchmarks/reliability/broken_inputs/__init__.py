"""Broken inputs of every format that madpipe reads, by the thousand, each judged alike."""
