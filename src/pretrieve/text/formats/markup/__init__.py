"""Kinds of XML and markup that data sets come in: dumps of MediaWiki and StackExchange, PubMed, feeds, articles."""
