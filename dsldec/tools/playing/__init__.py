"""`dsldec play`: a page on this machine in which a policy is written, checked and watched.

`verb` starts the server, `play_server` answers requests, `playground` has the answers, `decode_queue` decodes
one request at a time, and `assets` has the files of the page.
"""
