# ruff: noqa: E501 (sentences stand on one line)
"""The words the demo data is made of: templates and slot values, each split into a part for training and one held out.

A template may hold `[a|b|c]` (one is drawn) and `{slot}` (filled by the generator). Every pair below is (train, test);
nothing on the test side is ever shown in training, and the tests prove it. Long because it is nothing but words.
"""

from __future__ import annotations

TEAMS = ("billing", "shipping", "returns", "technical", "accounts", "sales", "security", "partners")

TICKETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "billing": (
        (
            "[I was|We were|I have been] charged [twice|two times|double] for {item}.",
            "The invoice for {item} shows {amount} but [I agreed to|we were quoted|the contract says] a lower price.",
            "My card [statement|bill] has a payment of {amount} [I do not recognise|that makes no sense] for {item}.",
            "[Can you|Please|Could you] send me [a copy of the invoice|the receipt|an invoice with VAT] for {item}?",
            "The VAT [on my invoice|on the bill] is [wrong|missing|too high], {amount} cannot be right.",
            "[My payment|The direct debit|The transfer] of {amount} failed but the money left my bank.",
            "Why [is the bill|is my invoice|was the charge] {amount} this month when it [was|used to be] less before?",
            "[We need|I need] [more time|an extension|until next month] to pay the invoice for {item}.",
            "The discount [was not applied|is missing|did not show] on the invoice of {amount}.",
            "[I want|We would like] to change [the card|the payment method|the bank account] you charge for {item}.",
            "A reminder says [the invoice is unpaid|we still owe {amount}|payment is late] but I [paid|transferred it].",
            "[Please correct|Fix|You must change] the [billing address|company name] on the invoice for {item}.",
            "You [billed|charged] me {amount} after [the trial|the subscription] [ended|was cancelled].",
            "[The tax number|The cost centre] is [missing|wrong] on our [invoices|monthly bill].",
        ),
        (
            "A second payment of {amount} for {item} went off my card [today|this morning].",
            "Our bookkeeping cannot match the invoice of {amount}, the VAT [does not add up|looks odd].",
            "I was [billed|charged] for {item} although the price should have been zero.",
            "[Where do I find|How can I get] last month's receipt for {item}?",
            "The reminder about {amount} is a mistake, the bank shows the transfer went through.",
            "Could the monthly charge of {amount} come off a different card from now on?",
        ),
    ),
    "shipping": (
        (
            "[My parcel|The package|My order] with {item} [has not arrived|never came|is still not here] after {days} days.",
            "[Where is|What happened to|Any news on] [my parcel|the delivery|my shipment]? Order {order}.",
            "The tracking [page|link|number] for {item} has [not moved|shown nothing new] for {days} days.",
            "[The courier|The driver|The carrier] left [the package|my parcel] with [a neighbour|someone I do not know].",
            "[Please|Can you] [change|correct] the delivery address for order {order}, [we moved|it has a mistake].",
            "Tracking says [delivered|handed over] but [nothing is here|I have no parcel|the box is not at my door].",
            "[Can you deliver|Is it possible to ship] {item} [on Saturday|before noon|to a pickup point]?",
            "[Only half|Just one part] of the shipment [arrived|was delivered], {item} is missing from the box.",
            "The delivery of {item} [is late|was promised for Monday|has been delayed] and nobody [tells us why|calls].",
            "The package is stuck at customs [for {days} days|since last week], what does the carrier need?",
            "[The driver|The courier] [could not find|did not ring at] our door, when will he [come again|retry]?",
            "[Hold|Stop] the shipment of order {order} [until Friday|while we are away], nobody can receive the parcel.",
            "How long does delivery of {item} [take|usually take] to [an island|the mountains|another country]?",
        ),
        (
            "{days} days of waiting and the courier still has not brought {item}.",
            "The carrier claims my package was delivered, yet I never saw a box.",
            "Order {order} shows no tracking update [at all|whatsoever], is the parcel lost?",
            "We need the delivery of {item} sent to a new address instead.",
            "Which day will the shipment with {item} reach us?",
            "Customs keeps the parcel of order {order} and wants a paper from the sender.",
        ),
    ),
    "returns": (
        (
            "I [want|would like] to [return|send back] {item}, it is [too small|not what I expected|the wrong colour].",
            "[How do I|Where can I] [return|send back] {item}? It [does not fit|was a gift|is not needed any more].",
            "[The item|The product] came [broken|damaged|cracked], I want [a refund|my money back|a replacement].",
            "When [do I get|will I see] the refund for {item}? I [sent it back|returned it] {days} days ago.",
            "[Please send|I need] a return label for order {order}.",
            "[You sent|I received] the wrong [item|colour|size], I would like to exchange it for {item}.",
            "[Can I|May we] exchange {item} for [another size|a different colour|a new one]?",
            "The refund [of {amount}|for the returned item] is [less than I paid|not complete|too low].",
            "Is {item} still inside the return [period|window] after {days} days?",
            "[The return label|The return form] [does not print|is missing|has expired], how can I send {item} back?",
            "[I returned|We sent back] [two items|three boxes] but you [refunded|credited] only one.",
            "{item} arrived with [a crack|a dent|scratches], please [replace it|take it back].",
            "[My return|The box I sent back] [was refused|came back to me], what [now|should I do]?",
        ),
        (
            "{item} does not suit us and I want to give it back for a refund.",
            "The replacement for {item} arrived damaged as well, take it back please.",
            "I sent {item} back {days} days ago, still no refund.",
            "What is the last day to return order {order}?",
            "I would rather exchange {item} than keep the wrong size.",
            "There was no label in the box, so how do I return {item}?",
        ),
    ),
    "technical": (
        (
            "{item} [does not|will not|refuses to] [turn on|start|boot] [since the update|any more|after a restart].",
            "The app [crashes|freezes|closes] when I [open settings|connect {item}|press save].",
            "[I get|We see] error {code} [on the screen|in the app|when we sync].",
            "{item} [keeps losing|drops|cannot hold] the [wifi|bluetooth|network] connection.",
            "[After the update|Since the new firmware] {item} [is very slow|makes a loud noise|gets hot].",
            "[How do I|Can someone help me] [connect|set up|install] {item} [with my phone|on a new laptop]?",
            "The screen of {item} [stays black|flickers|shows lines].",
            "[The sensor|The battery|The display] of {item} [stopped working|does not respond|fails] after {days} days.",
            "The firmware update [stops|hangs] at [half|the end] with error {code}.",
            "[Your website|The export|The report page] [shows|gives] a server error, code {code}.",
            "[The sync|The backup|The import] [does not finish|fails each night] since [the last version|Tuesday].",
            "[Is there|Do you have] a driver for {item} [that runs on|for] [Linux|an old tablet]?",
            "{item} [beeps|blinks red|restarts] [every few minutes|all the time], a reset [did not help|changed nothing].",
        ),
        (
            "Error {code} comes up each time I connect {item}.",
            "{item} has a black screen and a restart did not help.",
            "Since yesterday's firmware the bluetooth of {item} fails.",
            "The app hangs on the first page after the update.",
            "Which steps install {item} on a laptop without wifi?",
            "The battery of {item} gets hot and then it turns off.",
        ),
    ),
    "accounts": (
        (
            "I [forgot|lost] my password and the reset [mail|link] [never comes|does not work].",
            "[Please|Can you] change the [email address|user name|phone number] of my [account|profile].",
            "[I cannot|We cannot|My colleague cannot] log in [to the portal|to my account|since this morning].",
            "[Please|I want to] [delete|close|remove] my [account|profile] [for good|and all its data].",
            "[How do I|Can you] add [a user|a colleague|two users] to our [account|team account]?",
            "My account is [locked|blocked] after [three tries|too many logins].",
            "[I have|There are] two [accounts|profiles] with the same name, please [merge|join] them.",
            "The [verification|confirmation] mail for my new account [never arrived|is not in my inbox].",
            "[Please make|Can you make] my colleague [the owner|an admin] of the [account|workspace].",
            "[I want|We want] to [stop|unsubscribe from] the newsletter [sent to my account|in my profile].",
            "[Our old admin|A colleague] left, [who can|how do we] [remove|take over] the user?",
            "My profile [shows|has] the wrong [name|language|birthday] and I cannot [edit|change] it.",
            "[The login page|The portal] says [my user is unknown|the password is wrong] but [it is correct|I just set it].",
        ),
        (
            "The password reset link takes me to an empty login page.",
            "My user is locked and I need to log in today.",
            "We want one more colleague as an admin of our workspace.",
            "Take my email address off the newsletter and close the profile.",
            "I never got the confirmation mail after I made an account.",
            "The name on my profile is wrong, how do I edit it?",
        ),
    ),
    "sales": (
        (
            "[We are|Our office is] [interested in|thinking about] [buying|ordering] {many} of {item}.",
            "[Can you|Please] [send|make] [a quote|an offer] for {many} pieces of {item}.",
            "[Do you offer|Is there] a [volume discount|better price] [above {many} pieces|for schools|for large orders]?",
            "[When will|Will] {item} be [in stock|available] again? I want to [buy|order] one.",
            "[What is|Tell me] the difference between [the basic and the pro plan|the two models] before [I buy|we order]?",
            "[Could someone|Can you] [show us|give us] a demo of {item} [next week|before we decide]?",
            "[We want|I would like] to upgrade [to the pro plan|our plan] [from next month|for {many} users].",
            "Is {item} [suitable|right|good enough] for [a small shop|a school|a hotel with {many} rooms]?",
            "[Does the price|Does the offer] of {item} include [setup|training|a service contract]?",
            "[How much|What] would {many} [licences|seats] cost [per year|for a school]?",
            "[We compare|I am comparing] {item} with [another brand|a rival], [why should we|what speaks to] choose yours?",
            "[Can I talk|I want to speak] to [someone|a person] about [a large order|a yearly plan|prices]?",
        ),
        (
            "We plan to buy {item} for {many} rooms, what would the offer look like?",
            "Before I order {item} I have questions about the models.",
            "Is there a quote for a school that needs {many} seats?",
            "Will there be a discount if we order {many} pieces of {item}?",
            "A demo of the pro plan would help us decide.",
            "Let me know as soon as {item} is back in stock.",
        ),
    ),
    "security": (
        (
            "[I got|We received] a [strange|suspicious|fake] mail [in your name|from your address] asking for [my password|a code].",
            "[Someone|A stranger] [logged in|signed in] to my account from [another country|an unknown device].",
            "[I think|We fear] [my account|our portal] was [hacked|broken into|taken over].",
            "[We found|I found|Our tester found] a [hole|weakness|vulnerability] in [your login|the web shop].",
            "[Who has|Please tell us who has] access to our data, [and where is it stored|and for how long]?",
            "A [phishing|scam] [page|site|message] [copies|looks like] your [shop|login].",
            "[I lost|They stole] my [phone|laptop] with the app, please [block|lock out] the device.",
            "[Was our data|Were we] [part of|hit by] the [leak|breach] [in the news|last week]?",
            "[Please send|We need] your [security report|audit papers|privacy contract] [for our data officer|by Friday].",
            "[Orders|Messages] [I did not make|that are not mine] [appear|show up] in my account, is it fraud?",
            "[How can I|Please help me] turn on [two factor|the second factor] [codes|protection]? I fear [fraud|a hack].",
            "[A caller|A man on the phone] said he is from your [company|support] and [wanted|asked for] a code.",
        ),
        (
            "A message that looks like yours asks for my password, is it phishing?",
            "An unknown device from another country is signed in to our portal.",
            "Our tester can read other people's data through your web shop.",
            "My phone was stolen, lock out the app at once.",
            "Did the breach in the news touch our data?",
            "Somebody on the phone asked for a code, it felt like a scam.",
        ),
    ),
    "partners": (
        (
            "[We run|I own|We have] a [shop|store|chain of shops] and [want to|would like to] resell {item}.",
            "[How do we|Can I] become [a partner|a reseller|a dealer]?",
            "[Our|My] [commission|partner bonus] for [last month|spring] [is missing|has not come|is too low].",
            "[We would like|I want] to [build|write] [an integration|a plugin] with your API [as a partner|for our clients].",
            "[Can we|May our agency] use your logo on our [website|stand|flyer]?",
            "The [partner|reseller|dealer] portal [lists|shows] [an old price list|the wrong region] for {item}.",
            "[A blogger|A podcast|Our channel] would like to [review|present] {item}, do you [sponsor|work with] us?",
            "[Please renew|We want to renew] our [reseller|dealer|partner] contract [for this year|with you].",
            "[We plan|Our team plans] a joint [event|webinar|campaign] with [your brand|you], who is the contact?",
            "[As a supplier|As a maker of parts] we [offer|can deliver] [screws|packaging|cables] for {item}.",
            "[My affiliate link|Our referral code] [does not count|stopped tracking] [clicks|orders].",
            "[Is there|Do you have] a [training|certificate] for [dealers|resellers|partner firms]?",
        ),
        (
            "Our agency would like to join as a reseller in the north.",
            "The commission for our referral orders has not come yet.",
            "Do dealers get marketing material with your logo?",
            "We make packaging and want to become your supplier.",
            "Please put our shop on the list of partner firms that carry {item}.",
            "Is a joint webinar with our channel of interest to you?",
        ),
    ),
}

OPENINGS = (
    (
        "",
        "",
        "Hello, ",
        "Hi, ",
        "Dear team, ",
        "Good morning, ",
        "Hi there, ",
        "Hello support, ",
        "To whom it may concern, ",
    ),
    ("", "", "Good day, ", "Hey, ", "Dear all, ", "Hello everyone, ", "Good evening team, "),
)
ASIDES = (
    (
        "",
        "",
        "I have been a customer for {days} years.",
        "This is the second time I write.",
        "We are a small office.",
        "I already looked in the help pages.",
        "It is rather urgent.",
        "My colleague asked me to write.",
        "I am not in a hurry.",
    ),
    (
        "",
        "",
        "Nobody picked up when I called.",
        "We have liked your work so far.",
        "This matters to our whole floor.",
        "I read the guide already.",
        "It is for my mother.",
    ),
)
CLOSINGS = (
    ("", "", "Thanks!", "Thank you.", "Kind regards", "Please answer soon.", "Best wishes", "Thanks in advance."),
    ("", "", "Many thanks.", "Cheers", "Yours truly", "Looking forward to your reply."),
)
# The team of the first request is right for "later" joins, that of the second for "rather" joins.
LATER = (
    ("By the way, one more thing for later: ", "There is also this, but it can wait: ", "Less important: "),
    ("On a side note, and only if there is time: ", "Something smaller, for another day: "),
)
RATHER = (
    ("Forget about that, it is solved. What I really need: ", "That one is settled now. My question today: "),
    ("No need to look at that any more. Today it is about this: ", "That was sorted out. The actual reason I write: "),
)
JOINED = (("Also: ", "And another thing. "), ("Besides, ", "Moreover: "))

ITEMS = (
    (
        "the desk lamp", "my kettle", "the garden chair", "the office printer", "the air filter", "a door lock",
        "the smart plug", "the coffee grinder", "the standing desk", "my headphones", "the wall clock", "the heater",
        "the label printer", "our router", "the baby monitor", "the bike light", "the card reader", "my camera",
        "the water meter", "the speaker set", "the thermostat", "a tablet stand", "the floor fan", "the toaster",
    ),
    (
        "the ceiling light", "my electric razor", "the folding table", "the photo scanner", "the rice cooker",
        "the alarm panel", "our projector", "the hand mixer", "the shoe rack", "my fitness watch", "the rain sensor",
        "the microscope",
    ),
)  # fmt: skip
SIGNATURES = (
    ("Tomas Reyl", "Ina Corvath", "B. Mellor", "Priya Sandeep", "Jonas Wik", "Marta Oliven", "Lee Haddon", "Nora Bexi"),
    ("Ulla Fenwright", "Omar Castel", "K. Dravitz", "Sofie Lindqual", "Ben Achterop", "Yuki Tanabara"),
)
SHORT_FORMS = (
    {"please": "pls", "because": "bc", "message": "msg", "number": "no.", "you": "u", "with": "w/", "account": "acct"},
    {"thanks": "thx", "before": "b4", "about": "abt", "address": "addr", "order": "ord", "week": "wk", "would": "wd"},
)

# Vendors are made of these syllables; a word belongs to training or to the test by its checksum.
SYLLABLES = (
    ("Bra", "Cor", "Del", "Fen", "Gal", "Hol", "Jas", "Kel", "Lor", "Mar", "Nor", "Pel", "Quin", "Ros", "Sal", "Tor",
     "Ver", "Wil", "Yar", "Zan"),
    ("ba", "da", "ga", "ka", "la", "ma", "na", "ra", "sa", "ti", "vo", "le", "mi", "ro"),
    ("den", "fex", "gard", "lin", "mont", "nix", "pel", "rick", "ston", "tech", "vik", "wood"),
)  # fmt: skip
LEGAL_FORMS = ("Ltd", "GmbH", "Inc", "AG", "Oy", "Group", "Works", "Supplies")
NUMBER_PREFIXES = (("INV-", "RE-", "F", "2025/", "A-", "R/"), ("B-", "DOC-", "2024/", "K"))
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£"}
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK")

# {po} is replaced by one of the PO lines, or by nothing. {net}, {due} and {old} are there to be confused with.
INVOICES = (
    (
        "INVOICE\n{vendor}\nInvoice no: {number}\nDate: {date}\n{po}Total due: {total}",
        "{vendor}\nInvoice {number}\nIssued {date}\nNet {net}\n{po}Total {total}",
        "From: {vendor}\nSubject: invoice {number}\n[Hello|Hi|Good day], our invoice of {date} is [attached|below].\n{po}Amount to pay: {total}",
        "Dear customer,\n[please find|here is] invoice {number} dated {date} for {total}.\n{po}[Regards|Thank you]\n{vendor}",
        "Tax invoice\nSeller: {vendor}\nNumber: {number}\nInvoice date: {date}\nDue date: {due}\n{po}Total: {total}",
        "{vendor} | invoice | {number} | {date}\n{po}Sum: {total}",
        "Number {number}\nDate {date}\n{po}Goods {net}\nTo pay {total}\nSupplier {vendor}",
        "Hello, {vendor} has sent you a bill.\nBill number: {number}\nBill date: {date}\n{po}Amount: {total}",
        "{vendor}\n{date}\nInvoice number {number}\n{po}Subtotal {net}\nGrand total {total}",
        "[Reminder|Second notice]: invoice {number} of {date} is open.\n{po}Amount due {total}, pay by {due}.\n{vendor}",
        "Sender: {vendor}\nDocument: {number}\nIssue date: {date}\n{po}Before tax: {net}\nTotal with tax: {total}",
        "We charge you {total} for [services|goods] on invoice {number}.\n{po}Invoice date {date}, due {due}\n{vendor}",
    ),
    (
        "{vendor}\nBill no: {number}\nBill date: {date}\n{po}Net: {net}\nTotal due: {total}",
        "Subject: bill {number}\nGood day, here is our invoice dated {date}.\n{po}Total to pay: {total}\nThank you\n{vendor}",
        "Invoice\nNumber: {number}\nIssued: {date}\nSeller: {vendor}\nPay by {due}\n{po}Amount due: {total}",
        "Hello, invoice {number} from {vendor} of {date} is attached.\nDue date {due}\n{po}Sum total: {total}",
        "{date}\n{vendor} | document {number}\n{po}Goods: {net}\nGrand total: {total}",
        "Dear customer, {vendor} charges {total} on document {number}.\n{po}Date of issue: {date}",
    ),
)
PO_LINES = (
    ("PO: {po}\n", "Purchase order {po}\n", "Your order: {po}\n", "PO number {po}\n"),
    ("Purchase order: {po}\n", "Your PO {po}\n", "Order number: {po}\n"),
)

# The catalogue: invented products, one value of each attribute for each of them.
PRODUCTS = (
    "Tarvo kettle", "Mirel lamp", "Ostin chair", "Pavik clock", "Quorra desk", "Ruvan fan", "Selto mirror",
    "Tindra shelf", "Ulmo heater", "Vexa speaker", "Wendal stool", "Yorvik grill", "Zemlin bench", "Arvo radio",
    "Brisel toaster", "Cadmo trolley", "Dunmar ladder", "Elvira easel", "Fjorn crate", "Gistel mixer", "Havlo vase",
    "Ingot safe", "Jolva basket", "Kestel tent",
)  # fmt: skip
VALUES = {
    "material": ("oak", "steel", "copper", "bamboo", "glass", "leather", "cork", "marble"),
    "colour": ("red", "white", "green", "yellow", "purple", "black", "orange", "grey"),
    "country": ("Portugal", "Norway", "Japan", "Chile", "Kenya", "Canada", "Poland", "Vietnam"),
    "warranty": ("one year", "two years", "three years", "five years", "seven years", "ten years"),
    "designer": ("Salma", "Imre", "Doris", "Viktor", "Chiara", "Hugo", "Noemi", "Anton"),
    "month": ("January", "March", "April", "June", "July", "August", "October", "December"),
}
STATEMENTS = {
    "material": (
        "The {name} is made of {value}.", "{value} is the material of the {name}.",
        "Our {name} consists of {value}.", "For the {name} the workshop uses {value}.",
    ),
    "colour": (
        "The {name} comes in {value}.", "The colour of the {name} is {value}.",
        "Our {name} is painted {value}.", "{value} is the shade of the {name}.",
    ),
    "country": (
        "The {name} is built in {value}.", "{value} is the country of the {name}.",
        "Our {name} comes from {value}.", "The factory of the {name} is in {value}.",
    ),
    "warranty": (
        "The {name} has a warranty of {value}.", "The guarantee of the {name} lasts {value}.",
        "Our {name} is covered for {value}.", "We repair the {name} for free for {value}.",
    ),
    "designer": (
        "The {name} was designed by {value}.", "{value} is the designer of the {name}.",
        "{value} drew our {name}.", "The {name} is the work of {value}.",
    ),
    "month": (
        "The {name} was launched in {value}.", "Sales of the {name} began in {value}.",
        "The launch month of the {name} is {value}.", "{value} saw the first {name}.",
    ),
}  # fmt: skip
QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "material": (
        ("What is the {name} made of?", "Which material is used for the {name}?", "What does the {name} consist of?",
         "The material of the {name} is", "Of which material is our {name}?", "The workshop makes the {name} from",
         "Which of these is the {name} made from?", "What material does the workshop use for the {name}?"),
        ("Name the material the {name} is made from.", "Our workshop makes the {name} out of which material?",
         "From what is the {name} made?"),
    ),
    "colour": (
        ("Which colour is the {name}?", "What colour does the {name} have?", "In which shade does the {name} come?",
         "The colour of the {name} is", "How is the {name} painted?", "Our {name} is painted",
         "Which of these colours has the {name}?", "What is the shade of the {name}?"),
        ("Name the colour the {name} comes in.", "In what colour is the {name} painted?",
         "Which shade has our {name}?"),
    ),
    "country": (
        ("In which country is the {name} built?", "Where is the {name} built?", "Which country does the {name} come from?",
         "The {name} comes from", "Where is the factory of the {name}?", "The country of the {name} is",
         "In which of these countries is the {name} made?", "From which country is our {name}?"),
        ("Name the country the {name} comes from.", "In what country is the factory of the {name}?",
         "Where do we build the {name}?"),
    ),
    "warranty": (
        ("How long is the warranty of the {name}?", "What guarantee does the {name} have?",
         "For how long is the {name} covered?", "The warranty of the {name} is", "How long do we repair the {name} for free?",
         "The guarantee of the {name} lasts", "Which warranty comes with the {name}?",
         "How long does the guarantee of our {name} last?"),
        ("Name the length of the warranty of the {name}.", "How long is our {name} covered by the guarantee?",
         "What warranty has the {name}?"),
    ),
    "designer": (
        ("Who designed the {name}?", "Who is the designer of the {name}?", "By whom was the {name} designed?",
         "The designer of the {name} is", "Who drew the {name}?", "Whose work is the {name}?",
         "Which of these people designed the {name}?", "The {name} is the work of"),
        ("Name the designer of the {name}.", "Our {name} was designed by which person?",
         "Whose design is the {name}?"),
    ),
    "month": (
        ("In which month was the {name} launched?", "When was the {name} launched?", "When did sales of the {name} begin?",
         "The launch month of the {name} is", "Which month saw the first {name}?", "Sales of the {name} began in",
         "In which of these months did the {name} launch?", "What was the launch month of our {name}?"),
        ("Name the month the {name} was launched in.", "In what month did the sales of the {name} begin?",
         "When did we launch the {name}?"),
    ),
}  # fmt: skip
