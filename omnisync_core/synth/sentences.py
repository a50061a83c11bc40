"""Sentences in many languages, from templates and word lists; the words of "train" and "test" are disjoint.

Every fifth entry of each list is said in the test split alone, so that no test sentence shares a content word slot with
the training, and the test's templates differ too. Grammar is loose; the sounds are what matters: bilabials, f and v,
rounded and open vowels are in every list.
"""

import numpy as np

HELD_OUT_EVERY = 5
TEMPLATES = {  # s subject, v verb, o object, p place or time; "," is a short pause
    "train": ("full.", "bare.", "full, bare.", "bare!", "full?", "bare, full."),
    "test": ("full!", "bare, bare.", "bare?", "full, full."),
}


def sentence(language: str, split: str, rng: np.random.Generator) -> str:
    """One sentence of the split's own words."""
    order, *lists = _WORDS[language]
    words = {slot: _of_split(text, split) for slot, text in zip("svop", lists, strict=True)}
    template = str(rng.choice(TEMPLATES[split]))
    mark, parts = template[-1], template[:-1].split(", ")
    joiner = "" if language == "cmn" else " "
    said = [
        joiner.join(str(rng.choice(words[slot])) for slot in order if part == "full" or slot != "p") for part in parts
    ]
    return ", ".join(said) + mark


def languages() -> tuple[str, ...]:
    """Names of the languages, as espeak-ng calls them."""
    return tuple(_WORDS)


def words_of(language: str, split: str) -> frozenset[str]:
    """All entries of the lists that the split may say."""
    return frozenset(word for text in _WORDS[language][1:] for word in _of_split(text, split))


def _of_split(text: str, split: str) -> list[str]:
    words = [word.strip() for word in text.split("|")]
    return [word for index, word in enumerate(words) if (index % HELD_OUT_EVERY == 4) == (split == "test")]


_WORDS = {
    "en": (
        "svop",
        "my mother|the big farmer|a brave woman|our boss|the blue whale|every baby|a famous pilot|"
        "the woman next door|Bob|his uncle|the old sailor|a happy child|the voice on the phone|whoever wins|"
        "the quiet robot",
        "bought|moves|wants to have|prefers|paints|throws away|dreams about|is looking for|pushes|brought|"
        "has forgotten|would give up|always fixes|chews on|remembers",
        "a warm apple pie|five purple balloons|the wooden boat|my favourite movie|a bowl of soup|"
        "the very last page|some fresh bread|a pair of shoes|the fluffy white sheep|two mouldy potatoes|"
        "all of your books|that huge umbrella|a map of the world|the best of everything|one yellow raincoat",
        "before breakfast|in the middle of June|on the roof|at home|for the whole weekend|by the river|"
        "near the museum|with both hands|above the garage|once in a blue moon|when it snows|from Paris to Rome|"
        "tomorrow evening|over the bridge|under the palm trees",
    ),
    "en-us": (
        "svop",
        "the mayor|a small puppy|my neighbor|the weather man|Pam|the whole family|a football player|"
        "the music teacher|some people|her grandpa|the moving company|a wild wolf|our waiter|the movie star|Fiona",
        "loves|opens up|jumps over|will show you|makes fun of|saved|watches|may leave|found|broke|carries|"
        "blew away|wonders about|calls for|improves",
        "a cup of coffee|the marble fountain|four old trucks|your beautiful voice|the heavy box|"
        "a plum and a pear|the pool table|more than enough money|vanilla ice cream|the moonlight|"
        "my brand new camera|a bunch of flowers|the news program|a huge problem|the football game",
        "this morning|at the farm|out of the blue|in August|along the beach|behind the barn|for no reason|"
        "on Wednesday|at five o'clock|after the show|in front of everybody|up in Alaska|if possible|"
        "during the war movie|by mistake",
    ),
    "de": (
        "svop",
        "meine Mutter|der Bäcker|ein Pferd|die junge Frau|unser Bürgermeister|der Wolf|die Ärztin|ein Fußballer|"
        "Paul|der böse König|die Familie Müller|ein fauler Affe|das Baby|mein Opa|die Sängerin",
        "kauft|öffnet|vermisst|sucht|probiert|braucht|malt|findet|bewegt|wirft|liebt|prüft|bekommt|zeigt|überholt",
        "fünf grüne Äpfel|ein schönes Buch|die blaue Blume|einen warmen Mantel|das große Boot|viele bunte Vögel|"
        "den Löffel|ein Stück Butter|die Brücke|das Klavier|seine Möbel|einen Apfelbaum|das Hemd|"
        "wunderbare Musik|die Pfeffermühle",
        "am Abend|im Wald|vor dem Haus|ohne Mühe|auf dem Bauernhof|über Nacht|in München|nach dem Frühstück|"
        "bei Oma|im Februar|mit beiden Händen|um fünf Uhr|am Ufer|ohne Pause|hinter der Mauer",
    ),
    "es": (
        "svop",
        "mi mamá|el abuelo|una mujer|el bombero|la vecina|un buen amigo|Pablo|la famosa bruja|el pobre lobo|"
        "mi profesora|un músico|la paloma|el jefe|nuestro primo|una princesa",
        "come|compra|busca|mueve|olvida|prefiere|bebe|abre|pinta|rompe|lleva|encuentra|vende|mira|prueba",
        "un vaso de vino|la puerta verde|cuatro huevos|el mejor libro|una manzana roja|muchas flores|"
        "el pan blanco|su vieja bufanda|la pelota|el mapa del mundo|una taza de café|la luna llena|"
        "un pájaro azul|mil problemas|el puente",
        "por la mañana|en el bosque|con mucho amor|hoy|antes de dormir|en febrero|cerca del mar|sin ver nada|"
        "a veces|debajo del árbol|en Bolivia|después del viaje|bajo la lluvia|para siempre|en el museo",
    ),
    "fr": (
        "svop",
        "ma mère|le boulanger|une femme|mon beau-père|le vieux loup|un pompier|la voisine|Paul|le pauvre homme|"
        "mon meilleur ami|la famille|un bébé|le chauffeur|ma tante|la fée",
        "achète|ouvre|mange|préfère|invente|boit|cherche|pousse|trouve|oublie|montre|veut|peint|abîme|aime",
        "un bon pain|la porte bleue|deux pommes|une belle voiture|le fromage|du vin blanc|beaucoup de fleurs|"
        "un œuf|le petit bateau|la mousse|son parapluie|une boîte vide|le feu|un nouveau problème|la lune",
        "ce matin|au bord de l'eau|pendant la nuit|à Bordeaux|avec amour|chez nous|sous la pluie|en février|"
        "devant le musée|sans bouger|après le bal|vers midi|au bout du monde|tout à coup|depuis lundi",
    ),
    "it": (
        "svop",
        "mia mamma|il nonno|una bambina|il vecchio lupo|Beppe|un amico|la famiglia|il pompiere|una maga|"
        "il professore|la vicina|un bravo attore|mio fratello|la volpe|il bue",
        "compra|apre|muove|preferisce|beve|prova|vende|mangia|ama|porta|rompe|dipinge|guarda|trova|vuole",
        "un buon caffè|la porta blu|cinque uova|il pomodoro|una bella favola|il vino bianco|molti libri|la palla|"
        "un uovo|la bufanda|il ponte nuovo|una mela|le mappe|troppa acqua|un fiume",
        "al mattino|nel bosco|prima di dormire|a Palermo|con fatica|sotto il ponte|in febbraio|per amore|a volte|"
        "vicino al mare|ogni lunedì|sopra il tavolo|dopo cena|in fondo|fuori",
    ),
    "pt": (
        "svop",
        "a minha mãe|o avô|uma mulher|o bombeiro|um amigo|a vizinha|Pedro|o lobo|uma bruxa|o professor|a família|"
        "um pombo|meu primo|o chefe|a moça",
        "come|compra|procura|bebe|abre|move|prefere|leva|vende|pinta|quebra|olha|prova|faz|esquece",
        "um bom vinho|a porta azul|cinco ovos|o melhor livro|uma boa sopa|o pão branco|muitas flores|a bola|"
        "o mapa|uma maçã|o bolo|um problema|a ponte|meu sapato|a lua",
        "de manhã|na floresta|com amor|hoje|em fevereiro|perto do mar|sem parar|às vezes|em baixo da ponte|"
        "depois do almoço|no Brasil|fora de casa|à noite|por favor|antes da viagem",
    ),
    "pl": (
        "svop",
        "moja mama|stary wilk|pan Paweł|babcia|mały bóbr|sąsiad|piękna pani|pies|mój wujek|królowa|filozof|"
        "mała małpa|brat|poeta|fotograf",
        "kupuje|otwiera|pije|maluje|widzi|bierze|lubi|woła|pamięta|pomija|wybiera|szuka|popycha|gubi|łamie",
        "pięć jabłek|dobrą książkę|niebieski but|białą mewę|nowy obraz|ciepłą wodę|dużo chleba|kubek kawy|"
        "wielką piłkę|owoce|fajną mapę|worek mąki|słomiany kapelusz|bułkę|żółty fotel",
        "rano|w lesie|nad morzem|po obiedzie|w lutym|za domem|bez przerwy|o północy|pod mostem|w Opolu|"
        "obok muzeum|w zimie|przed burzą|we wtorek|u babci",
    ),
    "nl": (
        "svop",
        "mijn moeder|de boer|een vrouw|de bakker|opa|onze buurman|een oude wolf|Piet|de burgemeester|"
        "een blije baby|de vos|het meisje|mijn oom|de brandweerman|een aap",
        "koopt|opent|zoekt|proeft|verft|vindt|beweegt|bewaart|drinkt|breekt|wil|eet|schuift|gooit|vergeet",
        "vijf appels|een mooi boek|het grote huis|de blauwe boot|een bos bloemen|warm brood|de voordeur|"
        "een kopje koffie|zijn fiets|de muur|veel boter|een paar schoenen|het vuur|de piano|een ui",
        "vanavond|in het bos|voor het ontbijt|op zolder|in februari|bij de brug|zonder moeite|om vijf uur|buiten|"
        "onder de boom|met beide handen|na de film|thuis|over een uur|achter de muur",
    ),
    "cmn": (
        "spvo",
        "妈妈|我的朋友|老板|爸爸|那位医生|小马|王先生|一个女孩|法国人|外婆|弟弟|我们的老师|司机|白猫|農夫",
        "买|喜欢|要|打破|发明|学|卖|画|喝|摸|找到|搬|忘了|看|跑去买",
        "一杯茶|大苹果|五本书|面包|一把雨伞|漂亮的花|葡萄|蓝色的鱼|地图|白菜|那部电影|旧飞机|木头桌子|豆腐|咖啡",
        "早上|在北京|下雨的时候|晚饭以后|昨天|在学校|五月|慢慢地|在桥边|半夜|在家里|马上|春天|有时候|飞快地",
    ),
    "hi": (
        "spov",
        "मेरी माँ|मेरा भाई|एक औरत|बूढ़ा बाबा|राजा|मोहन|वह लड़का|हमारा पड़ोसी|फूफी|एक बंदर|माली|मेरे चाचा|पुलिस|बच्चा|भालू",
        "खाता है|पीता है|बेचता है|देखता है|मांगता है|फेंकता है|लाता है|भूल गया|पकाता है|बनाता है|उठाता है|"
        "चाहता है|खोलता है|पूछता है|भेजता है",
        "ठंडा पानी|पाँच फूल|मीठा आम|नया मकान|किताब|बड़ा पेड़|गोभी|सफ़ेद कपड़ा|दो पपीते|चावल|अपना जूता|बहुत पैसे|दूध|नीली पतंग|बर्फ़",
        "सुबह|बाग में|आज|घर के बाहर|फिर|मुंबई में|शाम को|पुल के पास|कभी कभी|बारिश में|बाज़ार से|जल्दी|दोपहर में|प्यार से|अभी",
    ),
    "ru": (
        "svop",
        "моя мама|старый волк|папа|бабушка|повар|умный робот|Вова|добрая фея|наш сосед|пожарный|обезьяна|"
        "мой брат|певица|почтальон|профессор",
        "покупает|любит|видит|пьёт|забывает|моет|открывает|бросает|ломает|выбирает|ищет|ловит|помнит|пробует|рубит",
        "пять яблок|новую книгу|белый хлеб|большую рыбу|воду|голубой мяч|букет роз|тёплое пальто|арбуз|бумагу|"
        "старую лампу|кофе|любимый фильм|много муки|флаг",
        "утром|в лесу|за рекой|после обеда|в феврале|под мостом|без конца|на море|вечером|у бабушки|по субботам|"
        "в Омске|перед домом|на балу|около фабрики",
    ),
    "tr": (
        "spov",
        "annem|büyük babam|bir kadın|komşumuz|fırıncı|köpek|küçük ayı|Murat|öğretmen|prenses|bizim aile|"
        "yaşlı kurt|amcam|bebek|maymun",
        "seviyor|alıyor|görüyor|buluyor|kapatıyor|içiyor|boyuyor|yapıyor|unutuyor|bekliyor|söylüyor|kırıyor|"
        "açıyor|satıyor|üflüyor",
        "beş elma|mavi kapıyı|soğuk su|bir fincan kahve|peynir|büyük evi|kırmızı topu|güzel bir film|ekmek|"
        "fotoğrafı|yumurta|eski kitabı|üzüm|bir bavul|muzu",
        "sabah|ormanda|köprüde|bugün|akşam|yemekten önce|şubatta|evde|yavaşça|nehir boyunca|İzmir'de|her pazar|"
        "duvarın önünde|bazen|vapurda",
    ),
    "ja": (
        "spov",
        "わたしの はは|ともだち|おばあさん|ふるい おおかみ|ぼく|となりの ひと|ちいさな うま|まほうつかい|"
        "せんせい|おうさま|パン やさん|あかちゃん|ぶた|いもうと|ふねの せんちょう",
        "たべます|かいました|みます|のみました|あけました|さがします|つくりました|わすれました|もっています|"
        "えらびます|うります|ほめました|あらいます|ひろいました|なげました",
        "あおい ぼうしを|おいしい りんごを|みずを|ふたつの ほんを|ぶどうを|あたらしい くつを|まめを|えいがを|"
        "ふうせんを|おべんとうを|パンを|はなを|コーヒーを|ピアノを|まくらを",
        "あさ|もりで|こうえんで|ばんごはんの まえに|ふゆに|うみの そばで|きのう|ゆっくり|まいにち|はしの うえで|"
        "いえで|ときどき|あめの ひに|にわで|ふじさんで",
    ),
}
