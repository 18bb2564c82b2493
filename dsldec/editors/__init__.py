"""The language for editors and highlighters: its words in groups, a lexer for Pygments, a TextMate grammar.

All of it is computed from the language's own tables. Not here: the extension for VS Code (`editors/vscode` of
the repository), the checks that an editor shows (`checks`).
"""
