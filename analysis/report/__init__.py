"""From a run to its findings and a page: the list of measures, the pipeline, chapters, figures, HTML."""
