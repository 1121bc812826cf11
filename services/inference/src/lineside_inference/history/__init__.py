"""The record of every part on this box, in SQLite: behind the line and never in its way.

columns     what is written of a judged part, and of its outcome: pure
schema      one file of the history: its tables, its words, a row as a document: pure but for SQL
query       what is asked, as conditions of SQL: pure
folder      the files, their names and order, setting one aside
retention   which files are too old, or too many: pure
store       the files that are written
part_filter which files may have a part id: pure
keeper      the queue, the thread that writes, and what is said of it
reader      pages, one part, counts: read-only and bounded in time
"""
