"""The papers of the methods' cards, by the names that cards use; several methods share some."""

from pretrieve.methods._papers import Paper

BERT = Paper(
    authors="Jacob Devlin, Ming-Wei Chang, Kenton Lee, Kristina Toutanova",
    title="BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    year=2019,
    venue="NAACL",
    arxiv="1810.04805",
)
COCONDENSER = Paper(
    authors="Luyu Gao, Jamie Callan",
    title="Unsupervised Corpus Aware Language Model Pre-training for Dense Passage Retrieval",
    year=2022,
    venue="ACL",
    arxiv="2108.05540",
)
CONDENSER = Paper(
    authors="Luyu Gao, Jamie Callan",
    title="Condenser: a Pre-training Architecture for Dense Retrieval",
    year=2021,
    venue="EMNLP",
    arxiv="2104.08253",
)
CONTRIEVER = Paper(
    authors="Gautier Izacard, Mathilde Caron, Lucas Hosseini, Sebastian Riedel, Piotr Bojanowski, Armand Joulin, "
    "Edouard Grave",
    title="Unsupervised Dense Information Retrieval with Contrastive Learning",
    year=2022,
    venue="TMLR",
    arxiv="2112.09118",
    journal=True,
)
DONT_STOP = Paper(
    authors="Suchin Gururangan, Ana Marasović, Swabha Swayamdipta, Kyle Lo, Iz Beltagy, Doug Downey, Noah A. Smith",
    title="Don't Stop Pretraining: Adapt Language Models to Domains and Tasks",
    year=2020,
    venue="ACL",
    arxiv="2004.10964",
)
DUPMAE = Paper(
    authors="Zheng Liu, Shitao Xiao, Yingxia Shao, Zhao Cao",
    title="RetroMAE-2: Duplex Masked Auto-Encoder For Pre-Training Retrieval-Oriented Language Models",
    year=2023,
    venue="ACL",
    arxiv="2305.02564",
)
E5 = Paper(
    authors="Liang Wang, Nan Yang, Xiaolong Huang, Binxing Jiao, Linjun Yang, Daxin Jiang, Rangan Majumder, Furu Wei",
    title="Text Embeddings by Weakly-Supervised Contrastive Pre-training",
    year=2022,
    arxiv="2212.03533",
)
ICT = Paper(
    authors="Kenton Lee, Ming-Wei Chang, Kristina Toutanova",
    title="Latent Retrieval for Weakly Supervised Open Domain Question Answering",
    year=2019,
    venue="ACL",
    arxiv="1906.00300",
)
MVR = Paper(
    authors="Shunyu Zhang, Yaobo Liang, Ming Gong, Daxin Jiang, Nan Duan",
    title="Multi-View Document Representation Learning for Open-Domain Dense Retrieval",
    year=2022,
    venue="ACL",
    arxiv="2203.08372",
)
REALM = Paper(
    authors="Kelvin Guu, Kenton Lee, Zora Tung, Panupong Pasupat, Ming-Wei Chang",
    title="REALM: Retrieval-Augmented Language Model Pre-Training",
    year=2020,
    venue="ICML",
    arxiv="2002.08909",
)
RETROMAE = Paper(
    authors="Shitao Xiao, Zheng Liu, Yingxia Shao, Zhao Cao",
    title="RetroMAE: Pre-Training Retrieval-oriented Language Models Via Masked Auto-Encoder",
    year=2022,
    venue="EMNLP",
    arxiv="2205.12035",
)
SIMCSE = Paper(
    authors="Tianyu Gao, Xingcheng Yao, Danqi Chen",
    title="SimCSE: Simple Contrastive Learning of Sentence Embeddings",
    year=2021,
    venue="EMNLP",
    arxiv="2104.08821",
)
SPIDER = Paper(
    authors="Ori Ram, Gal Shachaf, Omer Levy, Jonathan Berant, Amir Globerson",
    title="Learning to Retrieve Passages without Supervision",
    year=2022,
    venue="NAACL",
    arxiv="2112.07708",
)
TSDAE = Paper(
    authors="Kexin Wang, Nils Reimers, Iryna Gurevych",
    title="TSDAE: Using Transformer-based Sequential Denoising Auto-Encoder for Unsupervised Sentence Embedding "
    "Learning",
    year=2021,
    venue="Findings of EMNLP",
    arxiv="2104.06979",
)
