"""The glossary: the field's terms in English and traditional Chinese."""

import marimo

app = marimo.App(width="medium", app_title="Glossary / 名詞對照")


@app.cell
def _():
    import marimo as mo

    from coursekit.glossary import glossary, table

    return glossary, mo, table


@app.cell
def _(mo):
    mo.md("# Glossary / 名詞對照")
    return


@app.cell
def _(mo):
    words = mo.ui.text(label="Search / 搜尋", debounce=False)
    words
    return (words,)


@app.cell
def _(glossary, mo, table, words):
    mo.md(table(glossary().values(), words.value))
    return


if __name__ == "__main__":
    app.run()
