"""The language for editors and highlighters: its words in groups, a lexer for Pygments, a TextMate grammar,
answers about a text that somebody is writing, and the language server that gives them to an editor.

All of it is computed from the language's own tables and checks. Not here: the extension for VS Code
(`editors/vscode` of the repository), the checks that an editor shows (`checks`).
"""
